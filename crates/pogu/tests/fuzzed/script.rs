//! Bytes as decisions. At the end of the bytes every decision is the first one of its list, so that any bytes are a script.

pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub fn new(bytes: &'a [u8]) -> Script<'a> {
        Script(bytes)
    }

    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or_default()
    }

    /// One of `choices`.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count.max(1)
    }

    /// One of a list that was once `first` long: the highest bytes stand for what was added since, and the others for what they
    /// have always stood for.
    pub fn below_or_later(&mut self, first: usize, count: usize) -> usize {
        let (byte, later) = (usize::from(self.byte()), count - first);
        match byte.checked_sub(256 - later) {
            Some(later) => first + later,
            None => byte % first,
        }
    }

    /// As many bytes as the next one says, or as there are.
    pub fn bytes(&mut self) -> &'a [u8] {
        let wanted = usize::from(self.byte());
        self.0.split_off(..wanted.min(self.0.len())).unwrap_or_default()
    }
}
