//! Something to paint on. All shapes have soft edges, and touch only the pixels near them, so that drawing is
//! bearable in an unoptimised build.

use std::ops::Range;

use image::RgbaImage;

use super::palette::Colour;

const CHANNELS: usize = 4;

/// A picture being painted, transparent at first. Coordinates are in pixels from the upper left corner; what
/// lies outside is cut off.
pub(super) struct Canvas {
    width: u32,
    height: u32,
    /// Row by row; red, green, blue, opacity.
    pixels: Vec<u8>,
}

impl Canvas {
    pub(super) fn new(width: u32, height: u32) -> Canvas {
        let length = usize::try_from(width * height).expect("invariant: a canvas fits into memory");
        Canvas { width, height, pixels: vec![0; length * CHANNELS] }
    }

    pub(super) fn width(&self) -> f32 {
        self.width as f32
    }

    pub(super) fn height(&self) -> f32 {
        self.height as f32
    }

    /// Fills everything with one colour a row; `colour` is told how far down the row is, from 0 to 1.
    pub(super) fn fill_rows(&mut self, colour: impl Fn(f32) -> Colour) {
        let rows = self.height;
        let row_length = self.width as usize * CHANNELS;
        for (y, row) in (0..rows).zip(self.pixels.chunks_exact_mut(row_length)) {
            let colour = opaque(colour(y as f32 / rows as f32));
            for pixel in row.chunks_exact_mut(CHANNELS) {
                pixel.copy_from_slice(&colour);
            }
        }
    }

    /// Fills everything with one colour a pixel.
    pub(super) fn fill_pixels(&mut self, colour: impl Fn(f32, f32) -> Colour) {
        let width = self.width as usize;
        for (index, pixel) in self.pixels.chunks_exact_mut(CHANNELS).enumerate() {
            let (x, y) = (index % width, index / width);
            pixel.copy_from_slice(&opaque(colour(x as f32, y as f32)));
        }
    }

    /// Copies `stamp`, what is transparent included, to where its upper left corner is to be.
    pub(super) fn stamp(&mut self, stamp: &Canvas, left: u32, top: u32) {
        let columns = stamp.width.min(self.width.saturating_sub(left)) as usize;
        let rows = stamp.height.min(self.height.saturating_sub(top));
        for row in 0..rows {
            let from = (row * stamp.width) as usize * CHANNELS;
            let to = ((top + row) * self.width + left) as usize * CHANNELS;
            self.pixels[to..to + columns * CHANNELS]
                .copy_from_slice(&stamp.pixels[from..from + columns * CHANNELS]);
        }
    }

    /// Lays `colour` over one pixel with an opacity from 0 to 1.
    pub(super) fn blend(&mut self, x: u32, y: u32, colour: Colour, opacity: f32) {
        if x >= self.width || y >= self.height || opacity <= 0.0 {
            return;
        }
        let start = (y * self.width + x) as usize * CHANNELS;
        let pixel = &mut self.pixels[start..start + CHANNELS];
        let [red, green, blue] = colour.0;
        if opacity >= 1.0 {
            pixel.copy_from_slice(&opaque(colour));
            return;
        }
        // The colour below counts as far as it shows (Porter and Duff's "over").
        let under = f32::from(pixel[3]) / 255.0 * (1.0 - opacity);
        let result = opacity + under;
        let (over, under) = (opacity / result, under / result);
        pixel[0] = to_channel(red * over + f32::from(pixel[0]) * under);
        pixel[1] = to_channel(green * over + f32::from(pixel[1]) * under);
        pixel[2] = to_channel(blue * over + f32::from(pixel[2]) * under);
        pixel[3] = to_channel(result * 255.0);
    }

    /// Paints column `x` from `top` to just above `bottom`, with a soft upper end.
    pub(super) fn column(&mut self, x: u32, top: f32, bottom: f32, colour: impl Fn(f32) -> Colour) {
        for y in within(top, bottom, self.height) {
            let covered = (y as f32 + 1.0 - top).clamp(0.0, 1.0);
            self.blend(x, y, colour(y as f32), covered);
        }
    }

    /// Paints a disc; its opacity falls from `opacity` to nothing over the last `softness` pixels, at least 1.
    pub(super) fn disc(
        &mut self,
        centre: (f32, f32),
        radius: f32,
        softness: f32,
        colour: Colour,
        opacity: f32,
    ) {
        let softness = softness.max(1.0);
        for y in within(centre.1 - radius, centre.1 + radius, self.height) {
            for x in within(centre.0 - radius, centre.0 + radius, self.width) {
                let distance = (x as f32 + 0.5 - centre.0).hypot(y as f32 + 0.5 - centre.1);
                let covered = ((radius - distance) / softness).clamp(0.0, 1.0);
                self.blend(x, y, colour, opacity * covered);
            }
        }
    }

    /// The finished picture.
    pub(super) fn into_image(self) -> RgbaImage {
        RgbaImage::from_raw(self.width, self.height, self.pixels)
            .expect("invariant: the canvas has as many pixels as its size says")
    }
}

/// The whole pixels between two coordinates that lie on the canvas.
fn within(from: f32, to: f32, size: u32) -> Range<u32> {
    // A float that is too small or too large becomes the nearest whole number.
    let from = from.floor() as u32;
    let to = to.ceil() as u32;
    from.min(size)..to.min(size)
}

fn opaque(colour: Colour) -> [u8; CHANNELS] {
    let [red, green, blue] = colour.0;
    [to_channel(red), to_channel(green), to_channel(blue), u8::MAX]
}

fn to_channel(value: f32) -> u8 {
    // `as` cuts off beyond 0 and 255.
    (value + 0.5) as u8
}
