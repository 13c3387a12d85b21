//! Random numbers from a seed that a failure prints (SplitMix64).

/// Names the seed; without it, every run has one of its own.
const VARIABLE: &str = "FIRE_SEED";

pub struct Random {
    pub seed: u64,
    state: u64,
}

impl Random {
    /// From the environment, else a new one.
    pub fn new() -> Self {
        let given = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok());
        let random = || {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            now.as_nanos() as u64 ^ u64::from(std::process::id()) << 32
        };
        let seed = given.unwrap_or_else(random);
        Self { seed, state: seed }
    }

    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `limit`, which is not among them.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// From 0 to 1.
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Says with which seed a test failed.
impl Drop for Random {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{VARIABLE}={} makes the same choices again", self.seed);
        }
    }
}

/// Bytes that no shift or repetition of themselves looks like.
pub fn bytes(seed: u64, n_bytes: usize) -> Vec<u8> {
    let mut random = Random { seed, state: seed };
    (0..n_bytes.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).take(n_bytes).collect()
}
