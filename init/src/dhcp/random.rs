//! Random numbers for transaction numbers and jitter: different on every machine, no secret. The seed is handed in.

/// SplitMix64 (Steele, Lea, Flood 2014): every seed is as good as any other.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Numbers that follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(0)
    }

    /// A number from 0 to `largest`. That small ones are a trace more likely is all the same for jitter.
    pub fn up_to(&mut self, largest: u32) -> u32 {
        match largest.checked_add(1) {
            Some(count) => self.next() % count,
            None => self.next(),
        }
    }
}
