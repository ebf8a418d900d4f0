//! Statistics over streams in bounded memory: quantiles, tails, slow and sudden shifts, seasons, distinct counts.
//!
//! Nothing here knows what is measured. All of it can be stored and read back, and the same values in the same order give
//! the same state.

mod cusum;
mod distinct;
mod page_hinkley;
mod quantiles;
mod season;
mod shift;
mod spot;

pub use cusum::Cusum;
pub use distinct::Distinct;
pub use page_hinkley::PageHinkley;
pub use quantiles::Quantiles;
pub use season::{HOURS_OF_WEEK, Season, hour_of_week};
pub use shift::{Shift, Shifted};
pub use spot::{Gpd, Spot};
