//! Writing a test once and running it against every kind of server.

/// Turns each function into a module of its name with the tests `on_mysql` and `on_mariadb`, which run the body with
/// the kind of server as its argument.
///
/// The names matter: nextest limits how many tests ending in `on_mysql` or `on_mariadb` run at once. A test of one
/// kind only is a plain `#[tokio::test]` whose name ends the same way.
#[macro_export]
macro_rules! both_servers {
    ($($(#[$attribute:meta])* async fn $name:ident($kind:ident: Kind) $body:block)+) => {$(
        $(#[$attribute])*
        mod $name {
            #[allow(unused_imports, clippy::wildcard_imports, reason = "the body is written for the module around it")]
            use super::*;

            async fn scenario($kind: $crate::support::server::Kind) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_mysql() {
                Box::pin(scenario($crate::support::server::Kind::MySql)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_mariadb() {
                Box::pin(scenario($crate::support::server::Kind::MariaDb)).await;
            }
        }
    )+};
}
