//! Tables for people: they fit the terminal, and are plain where there is none.

use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table, presets,
};

use super::{Problem, out, visible};

/// How a column takes its width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// May be wrapped when the terminal is narrow.
    Text(&'static str),
    /// Never wrapped: what people copy.
    Whole(&'static str),
    /// Numbers, to the right.
    Number(&'static str),
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Text(title) | Self::Whole(title) | Self::Number(title) => title,
        }
    }
}

/// What a table may use of the terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Whether it may be coloured.
    pub(crate) color: bool,
    /// Whether stdout is a terminal: the table then fits its width and uses its signs.
    pub(crate) is_terminal: bool,
}

/// An empty table. On a terminal it keeps to its width; elsewhere every row stays on one line, for `grep` and `awk`.
pub(crate) fn table(style: Style, columns: &[Column]) -> Table {
    let mut table = Table::new();
    if style.is_terminal {
        table.load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(comfy_table::LineStyle::none()));
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    // The table's own look at the terminal joins width and colours; ours are two questions.
    let width = Table::new().width().filter(|_| style.is_terminal);
    table.force_no_tty();
    if let Some(width) = width {
        table.set_width(width);
    }
    if style.color {
        table.enforce_styling();
    }
    table.set_header(columns.iter().map(|column| Cell::new(column.title()).add_attribute(Attribute::Bold)));
    for (index, wanted) in columns.iter().enumerate() {
        let Some(column) = table.column_mut(index) else { continue };
        // The terminal's style puts one more blank between the columns.
        column.set_padding((0, if style.is_terminal { GAP - 1 } else { GAP }));
        match wanted {
            Column::Text(_) => {}
            Column::Whole(_) => {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
            Column::Number(_) => {
                column.set_cell_alignment(CellAlignment::Right);
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
    }
    table
}

/// Blanks between columns.
const GAP: u16 = 2;

/// Leaves out columns, the first named first, until the table fits the terminal: a row that is broken into pieces of
/// a few letters can no longer be read.
pub(crate) fn narrow(table: &mut Table, droppable: &[usize]) {
    let Some(room) = table.width().map(usize::from) else { return };
    let widths = table.column_max_content_widths();
    let mut wide: usize = widths.iter().map(|width| usize::from(*width + GAP)).sum();
    for &index in droppable {
        // The blanks after the last column may be cut.
        if wide <= room + usize::from(GAP) {
            return;
        }
        if let Some(column) = table.column_mut(index) {
            column.set_constraint(ColumnConstraint::Hidden);
            wide -= usize::from(widths.get(index).copied().unwrap_or(0) + GAP);
        }
    }
}

/// The table to stdout. Its cells hold nothing that a terminal obeys; its own colours are what it may obey.
pub(crate) fn show(table: &Table) -> Result<(), Problem> {
    out::as_it_is(&text(table))
}

/// The table as text, without blanks at the ends of lines.
fn text(table: &Table) -> String {
    table.trim_fmt() + "\n"
}

/// A cell. No text gets into a table but through here.
pub(crate) fn cell(text: impl AsRef<str>) -> Cell {
    Cell::new(visible::line(text.as_ref()))
}

/// A cell with the word of a state in its colour.
pub(crate) fn state_cell(shown: backroom::DisplayState) -> Cell {
    Cell::new(shown.as_str()).fg(state_color(shown))
}

fn state_color(shown: backroom::DisplayState) -> Color {
    use backroom::DisplayState;
    match shown {
        DisplayState::Scheduled => Color::Cyan,
        DisplayState::Retrying => Color::Yellow,
        DisplayState::Available => Color::Blue,
        DisplayState::Running => Color::Magenta,
        DisplayState::Waiting => Color::Cyan,
        DisplayState::Completed => Color::Green,
        DisplayState::Cancelled => Color::DarkGrey,
        DisplayState::Discarded => Color::Red,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { color: false, is_terminal: true };

    fn wide(room: u16) -> Table {
        let mut rows = table(PLAIN, &[Column::Whole("ID"), Column::Text("QUEUE"), Column::Text("WHEN")]);
        rows.add_row(vec![cell("x".repeat(36)), cell("q".repeat(20)), cell("now")]);
        rows.set_width(room);
        rows
    }

    #[test]
    fn a_table_that_fits_keeps_its_columns() {
        let mut rows = wide(80);
        narrow(&mut rows, &[1]);
        assert!(text(&rows).contains("QUEUE"));
    }

    #[test]
    fn a_table_that_is_too_wide_loses_what_is_least_missed() {
        let mut rows = wide(50);
        narrow(&mut rows, &[1, 2]);
        let said = text(&rows);
        assert!(!said.contains("QUEUE"), "{said}");
        assert!(said.contains("WHEN") && said.contains(&"x".repeat(36)), "{said}");
        assert!(said.lines().all(|line| line.chars().count() <= 50), "{said}");
    }

    #[test]
    fn no_colours_are_written_unless_wanted() {
        let mut rows = table(PLAIN, &[Column::Text("STATE")]);
        rows.add_row(vec![state_cell(backroom::DisplayState::Discarded)]);
        assert!(!text(&rows).contains('\u{1b}'));
        let mut rows = table(Style { color: true, ..PLAIN }, &[Column::Text("STATE")]);
        rows.add_row(vec![state_cell(backroom::DisplayState::Discarded)]);
        assert!(text(&rows).contains('\u{1b}'));
    }
}
