//! Random histories: trees of blocks, good and bad, in any order, and loose transactions.

use chain::ledger::Draft;
use chain::mempool::PoolLimits;
use chain::params::{KeyPolicy, Network};
use kv::{Expect, Operation};
use proptest::prelude::*;
use proptest::sample::Index;
use tests::chains::{account, asert_network, free_network, paid_network, signing_key, unsigned};
use tests::model::{BlockId, GENESIS};

use super::maker::{BlockPlan, FLAWS, Flaw, TxPlan};
use super::world::World;

const SIGNERS: u8 = 3;
const KEYS: [&[u8]; 4] = [b"a", b"ab", b"b", b"\xff"];
const VALUES: [&[u8]; 3] = [b"", b"one", b"twenty-two"];

/// Deepest fork below the tip, in blocks.
const MAX_FORK_DEPTH: u32 = 50;

/// A pool in which every limit is soon met.
const TIGHT_POOL: PoolLimits = PoolLimits { bytes: 650, per_account: 3, gap: 2, remembered: 4 };

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// Somebody made a branch.
    Branch {
        start: Start,
        length: Length,
        plans: Vec<BlockPlan>,
        flaw: Option<(Flaw, Index)>,
        delivery: Delivery,
    },
    /// Any block comes, again or at last.
    Deliver(Index),
    /// Transactions come.
    Loose(Vec<Loose>),
    /// A transaction comes again.
    Again(Index),
    /// A client has the node sign.
    Write(TxPlan),
    /// The node mines.
    Mine,
}

/// A transaction from outside, `skew` sequences off its account's next.
#[derive(Clone, Debug)]
struct Loose {
    plan: TxPlan,
    skew: i8,
    by_client: bool,
}

/// Where a branch starts.
#[derive(Clone, Debug)]
enum Start {
    Tip,
    Below(u32),
    Any(Index),
}

/// How long a branch is.
#[derive(Clone, Copy, Debug)]
enum Length {
    Blocks(u32),
    /// As high as the tip.
    Tie,
    /// So much higher than the tip.
    Beat(u32),
}

/// How a branch gets to the ledger. Numbers choose an order.
#[derive(Clone, Copy, Debug)]
enum Delivery {
    InOrder,
    /// Parents after children: most bodies find no parent.
    Reversed,
    HeadersThenReversed,
    HeadersThenShuffled(u8),
    HeadersOnly,
    Withheld,
}

fn operation() -> impl Strategy<Value = Operation<'static>> {
    let key = || prop::sample::select(&KEYS[..]);
    let expect = prop_oneof![
        4 => Just(Expect::Any),
        1 => Just(Expect::Absent),
        2 => (0..4_u64).prop_map(Expect::Version),
    ];
    let policy = prop_oneof![
        4 => Just(None),
        1 => Just(Some(KeyPolicy::Owned)),
        1 => Just(Some(KeyPolicy::Open)),
    ];
    let put = (key(), prop::sample::select(&VALUES[..]), expect.clone(), policy)
        .prop_map(|(key, value, expect, policy)| Operation::Put { key, value, expect, policy });
    let delete = (key(), expect).prop_map(|(key, expect)| Operation::Delete { key, expect });
    let hand_over =
        (key(), 0..SIGNERS).prop_map(|(key, to)| Operation::HandOver { key, to: account(to) });
    let pay = (0..SIGNERS, 0..400_u64)
        .prop_map(|(to, amount)| Operation::Pay { to: account(to), amount });
    prop_oneof![6 => put, 2 => delete, 1 => hand_over, 2 => pay]
}

fn transaction() -> impl Strategy<Value = TxPlan> {
    let operations = prop::collection::vec(operation(), 1..=2);
    let tip = prop_oneof![1 => Just(0), 1 => 0..200_u64];
    let expires_in = prop_oneof![4 => Just(None), 1 => (1..4_u32).prop_map(Some)];
    (0..SIGNERS, operations, tip, expires_in).prop_map(|(signer, operations, tip, expires_in)| {
        TxPlan { signer, operations, tip, expires_in }
    })
}

fn block() -> impl Strategy<Value = BlockPlan> {
    let transactions = prop::collection::vec(transaction(), 0..=2);
    (0..SIGNERS, -40..=40_i8, transactions, any::<bool>()).prop_map(
        |(payee, jitter_s, transactions, reuses)| BlockPlan {
            payee,
            jitter_s,
            transactions,
            reuses,
        },
    )
}

fn branch() -> impl Strategy<Value = Step> {
    let start = prop_oneof![
        4 => Just(Start::Tip),
        4 => (1..6_u32).prop_map(Start::Below),
        1 => (6..=MAX_FORK_DEPTH).prop_map(Start::Below),
        2 => any::<Index>().prop_map(Start::Any),
    ];
    let length = prop_oneof![
        6 => (1..4_u32).prop_map(Length::Blocks),
        3 => Just(Length::Tie),
        3 => (1..3_u32).prop_map(Length::Beat),
    ];
    let flaw = prop_oneof![
        3 => Just(None),
        1 => (prop::sample::select(&FLAWS[..]), any::<Index>()).prop_map(Some),
    ];
    let delivery = prop_oneof![
        3 => Just(Delivery::InOrder),
        1 => Just(Delivery::Reversed),
        2 => Just(Delivery::HeadersThenReversed),
        2 => any::<u8>().prop_map(Delivery::HeadersThenShuffled),
        1 => Just(Delivery::HeadersOnly),
        1 => Just(Delivery::Withheld),
    ];
    (start, length, prop::collection::vec(block(), 1..=3), flaw, delivery).prop_map(
        |(start, length, plans, flaw, delivery)| Step::Branch {
            start,
            length,
            plans,
            flaw,
            delivery,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let loose = (transaction(), -1..5_i8, any::<bool>())
        .prop_map(|(plan, skew, by_client)| Loose { plan, skew, by_client });
    let loose = prop::collection::vec(loose, 1..=6);
    prop_oneof![
        8 => branch(),
        4 => any::<Index>().prop_map(Step::Deliver),
        6 => loose.prop_map(Step::Loose),
        1 => any::<Index>().prop_map(Step::Again),
        1 => transaction().prop_map(Step::Write),
        2 => Just(Step::Mine),
    ]
}

/// A history: how high the chain is at first, then what happens.
fn history() -> impl Strategy<Value = (u32, Vec<Step>)> {
    let height = prop_oneof![4 => Just(0), 6 => 1..12_u32, 1 => Just(MAX_FORK_DEPTH)];
    (height, prop::collection::vec(step(), 1..14))
}

impl World {
    fn run(&mut self, (height, steps): (u32, Vec<Step>)) {
        for number in 0..height {
            let payee = u8::try_from(number).expect("few blocks") % SIGNERS;
            let plan = BlockPlan { payee, jitter_s: 0, transactions: Vec::new(), reuses: false };
            let id = self.make(self.chain.tip, &plan, None);
            self.send_body(id);
        }
        for step in steps {
            self.take(step);
        }
        self.settle();
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Branch { start, length, plans, flaw, delivery } => {
                let ids = self.branch(&start, length, &plans, flaw);
                self.deliver(&ids, delivery);
            }
            Step::Deliver(pick) => self.send_body(pick.index(self.truth.count())),
            Step::Loose(list) => list.into_iter().for_each(|loose| self.come(loose)),
            Step::Again(pick) => {
                if !self.signed.is_empty() {
                    let transaction = pick.get(&self.signed).clone();
                    self.send_transaction(transaction, false);
                }
            }
            Step::Write(plan) => {
                let operations = plan.operations.iter().map(Operation::encode).collect();
                self.write(Draft { operations, fee: None, expires_at: 0 });
            }
            Step::Mine => self.mine(),
        }
    }

    fn come(&mut self, Loose { plan, skew, by_client }: Loose) {
        let next = self.account(&account(plan.signer)).sequence;
        let sequence = next.saturating_add_signed(skew.into());
        let mut transaction = unsigned(&signing_key(plan.signer), sequence, &plan.operations);
        let height = self.next_height() - 1;
        transaction.expires_at = plan.expires_in.map_or(0, |blocks| height + blocks - 1);
        let transaction = self.sign(&plan, transaction);
        self.send_transaction(transaction, by_client);
    }

    fn branch(
        &mut self,
        start: &Start,
        length: Length,
        plans: &[BlockPlan],
        flaw: Option<(Flaw, Index)>,
    ) -> Vec<BlockId> {
        let main = self.truth.chain(self.chain.tip);
        let tip = self.next_height() - 1;
        let mut parent = match start {
            Start::Tip => self.chain.tip,
            Start::Below(depth) => main[tip.saturating_sub(*depth) as usize],
            Start::Any(pick) => pick.index(self.truth.count()),
        };
        let behind = tip.saturating_sub(self.truth.get(parent).place.facts.height);
        let count = match length {
            Length::Blocks(count) => count,
            Length::Tie => behind.max(1),
            Length::Beat(more) => behind + more,
        } as usize;
        let flaw = flaw.map(|(flaw, at)| (flaw, at.index(count)));
        let mut ids = Vec::new();
        for (number, plan) in (0..count).zip(plans.iter().cycle()) {
            let own = flaw.and_then(|(flaw, at)| (at == number).then_some(flaw));
            parent = self.make(parent, plan, own);
            ids.push(parent);
        }
        ids
    }

    fn deliver(&mut self, ids: &[BlockId], delivery: Delivery) {
        let mut bodies = ids.to_vec();
        match delivery {
            Delivery::InOrder => {}
            Delivery::Reversed | Delivery::HeadersThenReversed => bodies.reverse(),
            Delivery::HeadersThenShuffled(order) => self.shuffle(&mut bodies, order),
            Delivery::HeadersOnly | Delivery::Withheld => bodies.clear(),
        }
        if !matches!(delivery, Delivery::InOrder | Delivery::Reversed | Delivery::Withheld) {
            self.send_headers(ids);
        }
        for id in bodies {
            self.send_body(id);
        }
    }

    /// In the end everything comes, and the best valid block of all is the tip.
    fn settle(&mut self) {
        let mut all: Vec<BlockId> = (GENESIS + 1..self.truth.count()).collect();
        for &id in &all {
            self.send_headers(&[id]);
        }
        self.shuffle(&mut all, 0);
        for id in all {
            self.send_body(id);
        }
        let valid = (0..self.truth.count()).filter(|&id| self.truth.get(id).store.is_some());
        let best = valid.map(|id| self.truth.get(id).work).max();
        assert_eq!(best, Some(self.truth.get(self.chain.tip).work), "the best of all wins");
    }

    /// An order that looks random and is always the same.
    fn shuffle(&self, ids: &mut [BlockId], order: u8) {
        let start = usize::from(order) % 24;
        ids.sort_by_key(|&id| self.truth.get(id).block.hash().0[start..start + 8].to_vec());
    }
}

/// `PROPTEST_CASES` asks for other than the usual number.
fn cases(usual: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(usual),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn check(network: &Network, limits: PoolLimits, history: (u32, Vec<Step>)) {
    World::new(network, limits).run(history);
}

proptest! {
    #![proptest_config(cases(800))]

    #[test]
    fn free_histories_are_what_the_models_say(history in history()) {
        check(&free_network(), PoolLimits::default(), history);
    }

    #[test]
    fn paid_histories_are_what_the_models_say(history in history()) {
        check(&paid_network(), PoolLimits::default(), history);
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn histories_of_changing_targets_are_what_the_models_say(history in history()) {
        check(&asert_network(), PoolLimits::default(), history);
    }

    #[test]
    fn histories_with_a_tight_pool_are_what_the_models_say(history in history()) {
        check(&free_network(), TIGHT_POOL, history);
    }
}
