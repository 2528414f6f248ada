//! Row images: the only place that knows their bits.
