//! stub
#[derive(Clone, Copy, Debug)]
pub(crate) struct Features;
impl Features {
    pub(crate) fn refused(&self) -> String {
        String::new()
    }
}
pub(crate) fn probe() -> Result<Features, String> {
    Err("not yet".into())
}
pub(crate) struct Seed;
impl Seed {
    pub(crate) fn open(_: &crate::options::PortConfig, _: Features) -> Result<Seed, crate::error::OsError> {
        Ok(Seed)
    }
    pub(crate) fn waker(&self) -> std::sync::Arc<dyn crate::post::Wake> {
        unreachable!()
    }
    pub(crate) fn start(self) -> Result<crate::readiness::Readiness, crate::error::OsError> {
        unreachable!()
    }
}
