//! A private Redis Cluster.

use redis::Value;

use super::Redis;
use crate::eventually;

/// A node that is away makes its own slots unavailable, and no others.
const SETTINGS: [&str; 6] =
    ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no"];
const SLOTS: usize = 16_384;

/// Three nodes on loopback that share all slots.
pub struct Cluster {
    pub nodes: Vec<Redis>,
}

impl Cluster {
    pub async fn start() -> Self {
        let start = || Redis::start_with(&SETTINGS);
        let (one, two, three) = tokio::join!(start(), start(), start());
        let nodes = vec![one, two, three];
        for (nth, node) in nodes.iter().enumerate() {
            let (from, to) = (nth * SLOTS / nodes.len(), (nth + 1) * SLOTS / nodes.len() - 1);
            node.command(&["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &to.to_string()]).await;
            // Epochs that differ from the start spare the nodes their first quarrel.
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(nth + 1).to_string()]).await;
        }
        for node in &nodes[1..] {
            nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string()]).await;
        }
        let cluster = Self { nodes };
        cluster.until_whole().await;
        cluster
    }

    /// Waits until every node knows where every slot is.
    pub async fn until_whole(&self) {
        let (known, size) =
            (format!("cluster_known_nodes:{}", self.nodes.len()), format!("cluster_size:{}", self.nodes.len()));
        for node in &self.nodes {
            eventually("the cluster to be whole", async || {
                let info: String = redis::from_redis_value(node.command(&["CLUSTER", "INFO"]).await).expect("text");
                [known.as_str(), size.as_str(), "cluster_state:ok", "cluster_slots_ok:16384"]
                    .iter()
                    .all(|line| info.lines().any(|said| said == *line))
            })
            .await;
        }
    }

    /// Runs a command at the node that has the key, which is its second word.
    ///
    /// # Panics
    /// If no node takes it.
    pub async fn command(&self, words: &[&str]) -> Value {
        for node in &self.nodes {
            match redis::cmd(words[0]).arg(&words[1..]).query_async(&mut node.connection().await).await {
                Ok(answer) => return answer,
                Err(error) if error.code() == Some("MOVED") => {}
                Err(error) => panic!("{words:?}: {error}"),
            }
        }
        panic!("no node has the key of {words:?}")
    }

    /// The node that has a key.
    pub async fn node_of(&self, key: &str) -> usize {
        for (nth, node) in self.nodes.iter().enumerate() {
            if redis::cmd("EXISTS").arg(key).exec_async(&mut node.connection().await).await.is_ok() {
                return nth;
            }
        }
        panic!("no node has {key}")
    }
}
