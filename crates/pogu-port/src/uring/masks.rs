//! Forms masked off from outside, so that a whole test run uses the older ones on a newer kernel.
//!
//! `POGU_URING_WITHOUT` lists them, separated by commas. It is read only where the crate feature `masks` is on: a server
//! does not look at it.

use super::features::Features;

const VARIABLE: &str = "POGU_URING_WITHOUT";

type Mask = fn(Features) -> Features;

/// Names of the forms that have an older one.
const MASKS: [(&str, Mask); 6] = [
    ("no_sqarray", Features::without_no_sqarray),
    ("defer_taskrun", Features::without_defer_taskrun),
    ("task_flags", Features::without_task_flags),
    ("multishot", Features::without_multishot),
    ("length_cap", Features::without_length_cap),
    ("no_iowait", Features::without_no_iowait),
];

/// The form that has none: without it the driver cannot run.
const BUFFER_RINGS: &str = "buffer_rings";

/// What is left of `features`, or why the driver cannot run.
pub(super) fn apply(features: Features) -> Result<Features, String> {
    match std::env::var(VARIABLE) {
        Ok(list) => apply_list(features, &list),
        Err(_) => Ok(features),
    }
}

fn apply_list(mut features: Features, list: &str) -> Result<Features, String> {
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if name == BUFFER_RINGS {
            return Err(format!("registering receive buffers: masked by {VARIABLE}"));
        }
        let (_, mask) = MASKS.iter().find(|(known, _)| *known == name).ok_or_else(|| {
            let known: Vec<&str> = MASKS.iter().map(|(known, _)| *known).chain([BUFFER_RINGS]).collect();
            format!("{VARIABLE} knows {}; it says {name:?}", known.join(", "))
        })?;
        features = mask(features);
    }
    Ok(features)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_masks_each_of_its_forms_and_an_unknown_one_is_named() {
        let Some(features) = super::super::tests::if_allowed(super::super::probe()) else { return };
        let left = apply_list(features, "multishot, no_iowait").expect("both have older forms");
        assert!(left.refused().contains("multishot receive"), "{}", left.refused());
        assert!(left.refused().contains("iowait"), "{}", left.refused());
        assert!(apply_list(features, "multishot,buffer_rings").expect_err("has none").contains("masked"));
        assert!(apply_list(features, "multishoot").expect_err("no such form").contains("multishoot"));
    }
}
