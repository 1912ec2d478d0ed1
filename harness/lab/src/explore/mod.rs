//! Many runs of a scenario that differ in moments and values, for `sanlab explore`.
//!
//! [`space`] says what varies and which values a run gets, [`course`] does the runs side by side, independent of guests, [`kind`]
//! tells failures apart, [`narrow`] looks for the least that still fails, [`guests`] does a run on guests, and [`text`] is what a person
//! reads of it.

pub(crate) mod course;
pub(crate) mod guests;
pub(crate) mod kind;
pub(crate) mod narrow;
pub(crate) mod space;
pub(crate) mod text;
