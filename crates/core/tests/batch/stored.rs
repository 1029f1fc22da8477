//! The stored form of batches.

use backroom_core::batch::{Batch, BatchId};

use crate::{common::at, opened, stripe};

#[test]
fn a_batch_comes_back_from_its_text() {
    let batch = opened(16).close(&[stripe(1, 2, 3)], at(5)).unwrap().unwrap().batch;
    let batch = Batch { description: Some("thumbnails".into()), ..batch };
    let text = batch.stored().unwrap();
    assert!(
        text.starts_with(r#"{"v":1,"id":"00000000-0000-0000-0000-00000000ba7c","parent":null,"depth":0,"#),
        "{text}"
    );
    assert_eq!(Batch::from_stored(&text), Ok(batch));
}

#[test]
fn newer_unknown_and_damaged_text_is_refused() {
    let text = opened(16).stored().unwrap();
    let newer = Batch::from_stored(&text.replace(r#"{"v":1"#, r#"{"v":9"#)).unwrap_err();
    assert!(newer.why.contains("has version 9, this program knows versions up to 1"), "{newer}");
    assert!(Batch::from_stored(&text.replace(r#""filled""#, r#""filed""#)).is_err());
    assert!(Batch::from_stored(&text[..text.len() - 1]).is_err());
    assert!(Batch::from_stored("").is_err());
}

#[test]
fn ids_are_read_as_uuids() {
    let id = opened(1).id;
    assert_eq!(id.to_string().parse::<BatchId>(), Ok(id));
    assert!("ba7c".parse::<BatchId>().is_err());
}
