use serde_json::json;

use crate::support::sandbox::Sandbox;
use crate::support::server::PASSWORD;

both_servers! {
    async fn a_password_that_changes_at_the_server_and_in_its_file_is_used_at_the_next_connect(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        let file = sandbox.path("password");
        std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
        sandbox.set("/source/password_file", json!(file));
        let proxy = sandbox.behind_proxy().await;
        sandbox.server.exec("CREATE TABLE shop.a (id INT PRIMARY KEY); INSERT INTO shop.a VALUES (1)").await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        let accounts: Vec<String> =
            sandbox.server.query("SELECT CONCAT(QUOTE(user), '@', QUOTE(host)) FROM mysql.user WHERE user = 'replicator'").await;
        assert!(!accounts.is_empty());
        for account in &accounts {
            sandbox.server.exec(format!("ALTER USER {account} IDENTIFIED BY 'another-one'")).await;
        }
        proxy.cut();
        let status = daemon
            .wait_until("the denial is tried again", |status| {
                status["source"]["error"].as_str().is_some_and(|error| error.contains("source.password_file"))
            })
            .await;
        assert_eq!((&status["source"]["state"], &status["health"]["status"]), (&json!("reconnecting"), &json!("degraded")));
        assert!(!daemon.log().contains("another-one") && !daemon.log().contains(PASSWORD));

        std::fs::write(&file, "another-one\n").unwrap();
        sandbox.server.exec("INSERT INTO shop.a VALUES (2)").await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        assert_eq!(sandbox.assert_mirrored().await.rows, 2);
    }
}
