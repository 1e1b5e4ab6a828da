//! What a target is, and how it is fed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::draw::{Draw, spoil, stretched};

/// Something that reads bytes from outside.
pub(super) struct Target {
    /// Of its test and its folder.
    pub(super) name: &'static str,
    /// Inputs as they should be.
    pub(super) samples: fn() -> Vec<Vec<u8>>,
    /// Reads an input, and says in a word or a few what became of it. The word names inputs that
    /// are kept, so it must not depend on chance.
    pub(super) run: fn(&[u8]) -> String,
    /// The most it may allocate at once.
    pub(super) memory: Memory,
}

/// Bytes that may be allocated at the same time while an input is read.
pub(super) struct Memory {
    /// For each byte of the input.
    pub(super) per_byte: usize,
    /// Besides.
    pub(super) fixed: usize,
}

/// Feeds a target.
pub(super) struct Runner {
    pub(super) target: &'static Target,
    pub(super) samples: Vec<Vec<u8>>,
    /// This thread alone, so that what rayon spreads over threads is counted too.
    _pool: Option<ThreadPool>,
}

impl Runner {
    pub(super) fn new(target: &'static Target) -> Runner {
        // Fails when this thread has one already.
        let pool = ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().ok();
        let samples = (target.samples)();
        // What is made once is not to be counted with the first input.
        samples.iter().for_each(|sample| drop((target.run)(sample)));
        Runner { target, samples, _pool: pool }
    }

    /// Gives the target an input, and returns what became of it.
    pub(super) fn feed(&self, input: &[u8]) -> String {
        let material = self.material(input);
        let (word, most) = match catch_unwind(AssertUnwindSafe(|| self.run(&material))) {
            Ok(ran) => ran,
            Err(panic) => {
                self.keep(&material);
                resume_unwind(panic)
            }
        };
        let Memory { per_byte, fixed } = self.target.memory;
        let bound = per_byte * material.len() + fixed;
        let length = material.len();
        if most > bound {
            self.keep(&material);
            panic!("{length} bytes of input took {most} bytes at once, not {bound}");
        }
        word
    }

    /// Writes what an input that failed stands for to where a person finds it.
    fn keep(&self, material: &[u8]) {
        let name = self.target.name;
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
        let folder = format!("tests/tests/fuzz/__fuzz__/{name}/crashes/");
        std::fs::write(&path, [&[0][..], material].concat()).unwrap();
        println!("the input is {}; move it to {folder} to keep it", path.display());
    }

    /// Runs the target on what an input stands for; also counts the most bytes allocated at once.
    pub(super) fn run(&self, material: &[u8]) -> (String, usize) {
        let mut result = None;
        let counted = allocation_counter::measure(|| {
            // A panic must not end the counting in its midst.
            result = Some(catch_unwind(AssertUnwindSafe(|| (self.target.run)(material))));
        });
        let most = usize::try_from(counted.bytes_max).expect("usize has 64 bits");
        match result.expect("it was run") {
            Ok(word) => (word, most),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// What an input stands for: itself, a spoilt sample, or many bytes by chance. Random bytes
    /// alone would hardly ever come past the first check of anything.
    pub(super) fn material(&self, input: &[u8]) -> Vec<u8> {
        let mut draw = Draw::new(input);
        match draw.byte() % 4 {
            0 => draw.rest().to_vec(),
            3 => stretched(draw.rest()),
            _ => {
                let mut sample = draw.pick(&self.samples).clone();
                spoil(&mut sample, &self.samples, &mut draw);
                sample
            }
        }
    }
}
