//! `backroom demo --once`, as a user runs it.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod demo_common;

use std::{collections::BTreeMap, fs};

use backroom::State;
use demo_common::{Place, WIDTHS, assert_each_finished_once, count};
use serde_json::json;

#[test]
fn brought_pictures_get_their_thumbnails_and_the_broken_one_is_discarded() {
    let place = Place::new();
    let summary = place.once(&["--pictures", "2"]);
    assert_eq!(summary["pictures"], 2);
    assert_eq!(summary["thumbnails_made"], 6);
    assert_eq!(summary["discarded"].as_object().unwrap().keys().collect::<Vec<_>>(), ["cut-short.jpg"]);
    assert_eq!(summary["order_steps"], "paid, packed, mailed at attempt 2");

    // The first one is wider than every thumbnail; the second one is 1200 wide and not enlarged.
    let widths = [("01-hills.jpg", WIDTHS), ("02-night.jpg", [160, 480, 1200])].into_iter();
    let widths = widths.flat_map(|(photo, widths)| {
        WIDTHS.map(|asked| format!("{photo}~{asked}.jpg")).into_iter().zip(widths)
    });
    assert_eq!(place.thumbnails("backroom-demo/thumbnails"), widths.collect());
    let report = fs::read_to_string(place.path("backroom-demo/thumbnails/report-1.txt")).unwrap();
    assert!(report.contains("6 made") && report.contains("paid, packed and mailed"), "{report}");

    let jobs = place.jobs();
    assert_each_finished_once(&jobs);
    assert_eq!(count(&jobs, "make_thumbnail", State::Completed), 6);
    assert_eq!(count(&jobs, "make_thumbnail", State::Discarded), 3);
    for kind in ["pay_order", "pack_order", "mail_receipt", "nightly_report"] {
        assert_eq!(count(&jobs, kind, State::Completed), 1, "{kind}");
    }
}

#[test]
fn own_pictures_are_taken_in_four_formats_and_all_else_is_discarded_with_the_reason() {
    let place = Place::new();
    place.picture("a.jpg", 700, 50);
    place.picture("b.png", 170, 20);
    place.picture("inside/c.webp", 40, 40);
    place.picture("d.gif", 200, 30);
    place.file("empty.png", b"");
    place.file("notes.txt", b"not a picture at all");
    let whole = fs::read(place.path("photos/a.jpg")).unwrap();
    place.file("cut.jpg", &whole[..whole.len() / 2]);
    // The store lies in the watched folder, and is no picture to be judged.
    let store = format!("sqlite:{}", place.path("photos/backroom.db").display());

    let summary = place.once(&["--photos", "photos", "--out", "out", "--slots", "3", "--store", &store]);
    assert_eq!(summary["pictures"], 4);
    assert_eq!(summary["thumbnails_made"], 12);
    let discarded: Vec<_> = summary["discarded"].as_object().unwrap().iter().collect();
    assert_eq!(
        discarded.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["cut.jpg", "empty.png", "notes.txt"]
    );
    assert!(discarded[0].1.as_str().unwrap().contains("cut short"), "{discarded:?}");
    assert_eq!(discarded[1].1, &json!("the file is empty"));

    let widths = place.thumbnails("out");
    assert_eq!(widths.len(), 12);
    assert_eq!((widths["a.jpg~160.jpg"], widths["a.jpg~480.jpg"], widths["a.jpg~1280.jpg"]), (160, 480, 700));
    assert_eq!((widths["b.png~160.jpg"], widths["b.png~480.jpg"]), (160, 170));
    assert_eq!(widths["inside~c.webp~160.jpg"], 40);
    assert!(!place.path("backroom-demo").exists(), "nothing is written beside one's own pictures");
}

#[test]
fn a_second_run_does_nothing_again_and_makes_again_what_was_removed() {
    let place = Place::new();
    place.picture("a.png", 300, 20);
    place.file("notes.txt", b"not a picture at all");
    let args = ["--photos", "photos", "--out", "out"];
    assert_eq!(place.once(&args)["thumbnails_made"], 3);
    let (jobs, written) = (place.jobs(), written(&place));

    let again = place.once(&args);
    assert_eq!((&again["thumbnails_made"], &again["thumbnails_made_before"]), (&json!(0), &json!(3)));
    assert_eq!(place.jobs(), jobs);
    assert_eq!(self::written(&place), written);

    fs::remove_file(place.path("out/a.png~480.jpg")).unwrap();
    assert_eq!(place.once(&args)["thumbnails_made"], 1);
    assert_eq!(place.thumbnails("out").len(), 3);
    assert_eq!(place.jobs().len(), jobs.len());

    // A picture that is new brings a new order with it.
    place.picture("b.png", 300, 20);
    let third = place.once(&args);
    assert_eq!((&third["thumbnails_made"], &third["order"]), (&json!(3), &json!(2)));
    assert_each_finished_once(&place.jobs());
}

fn written(place: &Place) -> BTreeMap<String, std::time::SystemTime> {
    let files = fs::read_dir(place.path("out")).unwrap().map(Result::unwrap);
    files
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
    assert!(said.contains("failed to find pictures in empty: there is no file in it"), "{said}");
    let said = place.fails(&["--photos", "photos", "--out", "photos", "--once"]);
    assert!(said.contains("it is also the thumbnails' folder"), "{said}");
    let said = place.fails(&["--once", "--pictures", "1", "--store", "nowhere:x"]);
    assert!(said.contains("nowhere:x"), "{said}");
}

/// An 8×8 picture, baseline, with its three components in one scan or in a scan each.
fn tiny_jpeg(scans: &[&[u8]]) -> Vec<u8> {
    let mut jpeg = vec![0xff, 0xd8, 0xff, 0xdb, 0, 67, 0];
    jpeg.extend([1; 64]);
    jpeg.extend([0xff, 0xc0, 0, 17, 8, 0, 8, 0, 8, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]);
    // One code of one bit in each table: no difference, and the end of the block.
    for table in [0x00, 0x10] {
        jpeg.extend([0xff, 0xc4, 0, 20, table, 1]);
        jpeg.extend([0; 15]);
        jpeg.push(0);
    }
    for components in scans {
        jpeg.extend([0xff, 0xda, 0, 6 + 2 * components.len() as u8, components.len() as u8]);
        jpeg.extend(components.iter().flat_map(|component| [*component, 0]));
        // Two bits of nought for each component, then ones.
        jpeg.extend([0, 63, 0, 0xff >> (2 * components.len())]);
    }
    jpeg.extend([0xff, 0xd9]);
    jpeg
}

#[test]
fn a_jpeg_that_would_come_out_green_is_refused_and_its_twin_is_done() {
    let place = Place::new();
    place.file("together.jpg", &tiny_jpeg(&[&[1, 2, 3]]));
    place.file("apart.jpg", &tiny_jpeg(&[&[1], &[2], &[3]]));
    let summary = place.once(&["--photos", "photos", "--out", "out"]);
    assert_eq!(summary["pictures"], 1, "{summary}");
    let why = summary["discarded"]["apart.jpg"].as_str().unwrap();
    assert!(why.contains("not interleaved"), "{why}");
}

#[cfg(unix)]
#[test]
fn what_cannot_be_looked_at_is_skipped_said_once_and_counted() {
    use std::os::unix::{fs::PermissionsExt as _, process::CommandExt as _};

    let place = Place::new();
    place.picture("good.jpg", 40, 30);
    for shut in ["shut", "closed"] {
        place.picture(&format!("{shut}/lost.jpg"), 40, 30);
        fs::set_permissions(place.path("photos").join(shut), fs::Permissions::from_mode(0o000)).unwrap();
    }
    place.picture("far.jpg", 40, 30);
    let year_10_000 = std::time::UNIX_EPOCH + std::time::Duration::from_secs(253_402_300_800 + 86_400 * 400);
    let far = fs::File::options().write(true).open(place.path("photos/far.jpg")).unwrap();
    far.set_modified(year_10_000).unwrap();
    // Some file systems end before that year, and write their last moment instead.
    let is_far = fs::metadata(place.path("photos/far.jpg")).unwrap().modified().unwrap() == year_10_000;
    if !is_far {
        fs::remove_file(place.path("photos/far.jpg")).unwrap();
    }

    let args = ["--photos", "photos", "--out", "out", "--once", "--json"];
    let mut demo = place.demo(&args);
    // The superuser may read everything, so the demo runs as `nobody` then, from where `nobody` can reach the binary.
    if fs::read_dir(place.path("photos/shut")).is_ok() {
        fs::set_permissions(place.path(""), fs::Permissions::from_mode(0o777)).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_backroom"), place.path("binary")).unwrap();
        demo = std::process::Command::new(place.path("binary"));
        demo.arg("demo")
            .args(args)
            .current_dir(place.path(""))
            .env_remove("BACKROOM_STORE")
            .uid(65_534)
            .gid(65_534);
    }
    let output = demo.output().unwrap();
    for shut in ["shut", "closed"] {
        fs::set_permissions(place.path("photos").join(shut), fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert!(output.status.success(), "{output:?}");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["done"], &summary["pictures"]), (&json!(true), &json!(1)), "{summary}");
    let skipped = summary["skipped"].as_object().unwrap();
    let wanted = if is_far { vec!["closed", "far.jpg", "shut"] } else { vec!["closed", "shut"] };
    assert_eq!(skipped.keys().collect::<Vec<_>>(), wanted, "{summary}");
    let said = String::from_utf8(output.stderr).unwrap();
    let lines = said.lines().filter(|line| line.starts_with("skipped ")).count();
    assert_eq!(lines, if is_far { 2 } else { 1 }, "one line for each reason: {said}");
}
