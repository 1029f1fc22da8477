//! `backroom demo --once`, as a user runs it.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod demo_common;

use std::{collections::BTreeMap, fs, io::Cursor, path::Path};

use backroom::State;
use demo_common::{Place, WIDTHS, assert_each_finished_once, assert_orders_are_fulfilled, count};
use image::{DynamicImage, GenericImageView as _, ImageFormat, Rgb, RgbImage, RgbaImage};

#[test]
fn brought_pictures_get_their_thumbnails_and_the_broken_one_is_discarded() {
    let place = Place::new();
    let summary = place.once(&["--pictures", "2"]);
    assert_eq!(summary["pictures"], 2);
    assert_eq!(summary["thumbnails"], 6);
    assert_eq!(summary["discarded"].as_object().unwrap().keys().collect::<Vec<_>>(), ["cut-short.jpg"]);
    assert_eq!(summary["order_steps"], "paid at try 2, packed, shipped, mailed");

    // The first one is wider than every thumbnail; the second one is 1200 wide and not enlarged.
    let widths = [("01-hills.jpg", WIDTHS), ("02-night.jpg", [160, 480, 1200])].into_iter();
    let widths = widths.flat_map(|(photo, widths)| {
        WIDTHS.map(|asked| format!("{photo}~{asked}.jpg")).into_iter().zip(widths)
    });
    assert_eq!(place.thumbnails("backroom-demo/thumbnails"), widths.collect());
    let jobs = place.jobs();
    assert_each_finished_once(&jobs);
    assert_eq!(count(&jobs, "make_thumbnail", State::Completed), 6);
    assert_eq!(count(&jobs, "make_thumbnail", State::Discarded), 3);
    assert_eq!(assert_orders_are_fulfilled(&place, "backroom-demo/thumbnails", &jobs), 1);
}

#[test]
fn a_refused_order_is_paid_back_and_the_next_one_is_fulfilled() {
    let place = Place::new();
    let summary = place.once(&["--pictures", "1", "--refuse"]);
    let steps = summary["order_steps"].as_str().unwrap();
    assert_eq!(
        steps,
        "paid at try 2, paid back, discarded: step \"pack\" failed: no frame of this size is left"
    );
    let accounts = || place.accounts("backroom-demo/thumbnails");
    assert_eq!(accounts(), ["990 cents charged, 990 cents paid back\n"]);

    let next = place.once(&["--pictures", "1"]);
    assert_eq!(next["order"], 2);
    assert_eq!(accounts().len(), 2);
    let jobs = place.jobs();
    assert_eq!(["order", "ship_parcel"].map(|kind| count(&jobs, kind, State::Completed)), [1, 1]);
    assert_eq!(count(&jobs, "order", State::Discarded), 1);
}

const RED: [u8; 3] = [220, 30, 30];
const GREEN: [u8; 3] = [30, 200, 60];
const BLUE: [u8; 3] = [40, 60, 220];
const WHITE: [u8; 3] = [255, 255, 255];

/// A picture with its quarters in four colours, so that each turn and flip shows.
fn quarters(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let pixels = RgbImage::from_fn(width, height, |x, y| {
        Rgb(match (x < width / 2, y < height / 2) {
            (true, true) => RED,
            (false, true) => GREEN,
            (true, false) => BLUE,
            (false, false) => WHITE,
        })
    });
    encoded(&pixels.into(), format)
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// The colours in the middle of the four quarters; JPEG changes them a little.
#[track_caller]
fn assert_is_quarters(path: &Path, colours: [[u8; 3]; 4]) {
    let picture = image::open(path).unwrap();
    let (width, height) = picture.dimensions();
    for ((x, y), colour) in [(1, 1), (3, 1), (1, 3), (3, 3)].into_iter().zip(colours) {
        let is = picture.get_pixel(width * x / 4, height * y / 4).0;
        assert!(is.iter().zip(colour).all(|(is, should)| is.abs_diff(should) <= 25), "{is:?} for {colour:?}");
    }
}

#[test]
fn own_pictures_are_taken_in_four_formats_and_all_else_is_discarded_with_the_reason() {
    let place = Place::new();
    let formats = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif];
    for (format, name) in formats.into_iter().zip(["a.jpg", "b.PNG", "c.webp", "d.gif"]) {
        place.file(name, &quarters(700, 350, format));
    }
    let jpeg = quarters(400, 200, ImageFormat::Jpeg);
    // Behind the start of the image: EXIF with the one entry that says "turn by 90 degrees clockwise".
    let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    place.file("sideways.jpg", &[&jpeg[..2], exif, &jpeg[2..]].concat());
    place.file("clear.png", &encoded(&DynamicImage::ImageRgba8(RgbaImage::new(40, 40)), ImageFormat::Png));
    place.file("line.png", &quarters(2000, 2, ImageFormat::Png));
    let png = quarters(400, 200, ImageFormat::Png);
    let mut wide = png.clone();
    wide[16..20].copy_from_slice(&30_000u32.to_be_bytes());
    let refused: [(&str, &[u8], &str); 5] = [
        ("cut.jpg", &jpeg[..jpeg.len() / 2], "cut short"),
        ("cut.png", &png[..png.len() / 2], "cut short"),
        ("empty.png", b"", "the file is empty"),
        ("notes.jpg", b"not a picture at all", "not JPEG, PNG, WebP or GIF"),
        ("wide.png", &wide, ""),
    ];
    refused.iter().for_each(|(name, content, _)| place.file(name, content));
    // The store lies in the watched folder, and is no picture to be judged; nor is a hidden file.
    let store = format!("sqlite:{}", place.path("photos/backroom.db").display());
    place.file(".hidden.jpg", b"");

    let summary = place.once(&["--photos", "photos", "--out", "out", "--store", &store]);
    assert_eq!((&summary["pictures"], &summary["thumbnails"]), (&7.into(), &21.into()), "{summary}");
    let discarded = summary["discarded"].as_object().unwrap();
    assert_eq!(discarded.keys().collect::<Vec<_>>(), refused.map(|(name, ..)| name));
    for (name, _, why) in refused {
        assert!(discarded[name].as_str().unwrap().contains(why), "{name}: {}", discarded[name]);
    }
    let widths = place.thumbnails("out");
    assert_eq!(
        WIDTHS.map(|asked| widths[&format!("a.jpg~{asked}.jpg")]),
        [160, 480, 700],
        "none is enlarged"
    );
    let thumbnail = |name: &str| place.path("out").join(format!("{name}~160.jpg"));
    for name in ["a.jpg", "b.PNG", "c.webp", "d.gif"] {
        assert_is_quarters(&thumbnail(name), [RED, GREEN, BLUE, WHITE]);
    }
    assert_is_quarters(&thumbnail("sideways.jpg"), [BLUE, RED, WHITE, GREEN]);
    assert_is_quarters(&thumbnail("clear.png"), [WHITE; 4]);
    assert_eq!(image::open(thumbnail("line.png")).unwrap().height(), 1, "one pixel stays");
    assert!(!place.path("backroom-demo").exists(), "nothing is written beside one's own pictures");
}

#[test]
fn a_second_run_makes_no_thumbnail_again_but_what_was_removed() {
    let place = Place::new();
    place.picture("a.png", 300, 20);
    place.file("notes.jpg", b"not a picture at all");
    let args = ["--photos", "photos", "--out", "out"];
    assert_eq!(place.once(&args)["thumbnails"], 3);
    let thumbnails = || {
        let mut jobs = place.jobs();
        jobs.retain(|job| job.kind == "make_thumbnail");
        jobs
    };
    let (jobs, written) = (thumbnails(), written(&place));

    assert_eq!(place.once(&args)["order"], 2, "each run has an order of its own");
    assert_eq!(thumbnails(), jobs);
    assert_eq!(self::written(&place), written);

    fs::remove_file(place.path("out/a.png~480.jpg")).unwrap();
    place.picture("b.png", 300, 20);
    assert_eq!(place.once(&args)["thumbnails"], 6);
    assert_eq!(place.thumbnails("out").len(), 6);
    assert_eq!(thumbnails().len(), jobs.len() + 3);
    assert_each_finished_once(&place.jobs());
}

fn written(place: &Place) -> BTreeMap<String, std::time::SystemTime> {
    let files = fs::read_dir(place.path("out")).unwrap().map(Result::unwrap);
    let thumbnails = files.filter(|file| demo_common::name(&file.path()).ends_with(".jpg"));
    thumbnails
        .map(|file| (demo_common::name(&file.path()), file.metadata().unwrap().modified().unwrap()))
        .collect()
}

#[test]
fn what_cannot_work_is_refused_with_the_remedy_and_leaves_nothing_behind() {
    let place = Place::new();
    let said = place.fails(&["--photos", "missing", "--once"]);
    assert!(said.contains("failed to watch missing: there is no such folder"), "{said}");
    place.file("a.txt", b"");
    let said = place.fails(&["--photos", "photos/a.txt", "--once"]);
    assert!(said.contains("it is not a folder"), "{said}");
    let said = place.fails(&["--photos", "photos", "--out", "photos/a.txt/out", "--once"]);
    assert!(said.contains("name another folder with --out"), "{said}");
    assert!(!place.path("backroom.db").exists() && !place.path("backroom-demo").exists());

    fs::create_dir(place.path("empty")).unwrap();
    let said = place.fails(&["--photos", "empty", "--once"]);
    assert!(said.contains("failed to find pictures in empty: there is none in it"), "{said}");
    let said = place.fails(&["--photos", "photos", "--out", "photos", "--once"]);
    assert!(said.contains("it is also the thumbnails' folder"), "{said}");
    let said = place.fails(&["--once", "--pictures", "1", "--store", "nowhere:x"]);
    assert!(said.contains("nowhere:x"), "{said}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_picture_that_no_job_can_name_is_skipped_and_said() {
    use std::os::unix::ffi::OsStrExt as _;

    let place = Place::new();
    place.picture("good.jpg", 40, 30);
    let name = std::ffi::OsStr::from_bytes(b"r\xe9sum\xe9.jpg");
    fs::copy(place.path("photos/good.jpg"), place.path("photos").join(name)).unwrap();
    let output = place.demo(&["--photos", "photos", "--out", "out", "--once", "--json"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["not_made"].as_object().unwrap().len(), 1, "{summary}");
    assert_eq!(summary["pictures"], 1, "{summary}");
    let said = demo_common::stderr(&output);
    assert!(said.contains("its name is not UTF-8"), "{said}");
}
