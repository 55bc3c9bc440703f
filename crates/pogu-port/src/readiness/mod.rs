//! stub
pub(crate) struct Readiness;
pub(crate) struct Seed;
impl Seed {
    pub(crate) fn open(_: &crate::options::PortConfig) -> Result<Seed, crate::error::OsError> {
        Ok(Seed)
    }
    pub(crate) fn waker(&self) -> std::sync::Arc<dyn crate::post::Wake> {
        unreachable!()
    }
    pub(crate) fn start(self) -> Result<Readiness, crate::error::OsError> {
        unreachable!()
    }
}
impl<M> crate::driver::Driver<M> for Readiness {
    fn turn(
        &mut self,
        _: Option<crate::clock::Time>,
        _: &dyn Fn() -> bool,
        _: &mut crate::driver::Sink<'_, M>,
    ) -> Result<usize, crate::error::OsError> {
        unreachable!()
    }
    fn submit(&mut self) -> &mut dyn crate::driver::Submit {
        unreachable!()
    }
    fn waker(&self) -> std::sync::Arc<dyn crate::post::Wake> {
        unreachable!()
    }
}
