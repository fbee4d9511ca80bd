//! Samples of one quantity: one a round where rounds are compared, one an event where events are.

/// In the order in which they were taken.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn one(value: f64) -> Self {
        Self(vec![value])
    }

    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        }
    }

    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    pub fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }

    /// The smallest sample that at least this part of all samples does not exceed.
    pub fn percentile(&self, part: f64) -> f64 {
        let sorted = self.sorted();
        let rank = (part * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
    }

    /// Round by round, what these are of those: a machine that was slow for one round was slow for both.
    pub fn over(&self, those: &Self) -> Self {
        Self(self.0.iter().zip(&those.0).map(|(this, that)| this / that).collect())
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::Samples;

    #[test]
    fn they_are_summed_up_as_in_textbooks() {
        let samples = Samples((1..=100).map(f64::from).collect());
        assert_eq!((samples.median(), samples.percentile(0.5), samples.percentile(0.99)), (50.5, 50.0, 99.0));
        assert_eq!((samples.min(), samples.max()), (1.0, 100.0));
        assert_eq!(Samples::one(7.0).percentile(0.99), 7.0);
        assert!(Samples::default().median().is_nan());
    }

    #[test]
    fn rounds_are_compared_pair_by_pair() {
        let (slow, fast) = (Samples(vec![1.0, 10.0]), Samples(vec![2.0, 20.0]));
        assert_eq!(slow.over(&fast).median(), 0.5);
    }
}
