//! Tables for people: they fit the terminal, and are plain where there is none.

use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table, presets,
};

use super::words::safe;
use crate::settings::Settings;

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

/// An empty table. On a terminal it keeps to its width; elsewhere every row stays on one line, for `grep` and `awk`.
pub(crate) fn table(settings: &Settings, columns: &[Column]) -> Table {
    let mut table = Table::new();
    if settings.terminal {
        table.load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(comfy_table::LineStyle::none()));
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    // The table's own look at the terminal joins width and colours; ours are two questions.
    let width = Table::new().width().filter(|_| settings.terminal);
    table.force_no_tty();
    if let Some(width) = width {
        table.set_width(width);
    }
    if settings.color {
        table.enforce_styling();
    }
    table.set_header(columns.iter().map(|column| Cell::new(column.title()).add_attribute(Attribute::Bold)));
    for (index, wanted) in columns.iter().enumerate() {
        let Some(column) = table.column_mut(index) else { continue };
        column.set_padding((0, 2));
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

/// The table as text, without blanks at the ends of lines.
pub(crate) fn text(table: &Table) -> String {
    table.trim_fmt() + "\n"
}

/// A cell with text from a job.
pub(crate) fn cell(text: impl AsRef<str>) -> Cell {
    Cell::new(safe(text.as_ref()))
}

/// A cell with the word of a state in its colour.
pub(crate) fn state_cell(shown: backroom::Shown) -> Cell {
    Cell::new(shown.as_str()).fg(state_color(shown))
}

fn state_color(shown: backroom::Shown) -> Color {
    use backroom::Shown;
    match shown {
        Shown::Scheduled => Color::Cyan,
        Shown::Retrying => Color::Yellow,
        Shown::Available => Color::Blue,
        Shown::Running => Color::Magenta,
        Shown::Waiting => Color::Cyan,
        Shown::Completed => Color::Green,
        Shown::Cancelled => Color::DarkGrey,
        Shown::Discarded => Color::Red,
    }
}
