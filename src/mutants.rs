//! Known faults, kept as switches: a simulator that cannot find them is not one.
//!
//! Without the feature `mutants` every switch is off at compile time. With it, `set` turns one on for the current thread.

/// A fault that the core once had, or nearly had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Keys that an open group changes are noted in snapshot windows before the group commits.
    KeysNotedAtOnce,
    /// Row counters of a group that is rolled back stay.
    CountersKeptOnRollback,
    /// The position becomes durable after the group that it follows.
    PositionSavedAfterTheGroup,
    /// A reconnect forgets the keys of a window and leaves the window valid.
    WindowKeysForgottenAtReconnect,
    /// A described key counts for rows before the place of the description.
    KeyBelievedAtOnce,
    /// A schema id that is left out becomes the table's current one again, when the one after it is left out.
    LeftOutIdCurrentAgain,
    /// What the server says of an engine counts for a rollback before the place of the answer.
    EngineBelievedAtOnce,
    /// It is not recorded that a table is no longer captured.
    CaptureNotRecorded,
    /// A read that has begun goes on where it was when its table is captured again.
    ReadOutlivesItsTable,
    /// How many columns a rows event states is not compared with the schema of its rows.
    ColumnCountNotCompared,
    /// A read that was done for one sink counts for all of them.
    ReadOfOneSinkCountsForAll,
    /// A description is adopted before the stream has come to its place.
    LaterDescriptionAdopted,
    /// What statements have made of a table is not compared with what a description shows before the stream has come to its place.
    PredictionNotCompared,
    /// The columns and the key of one description are looked at without the table's lock, at two moments. The question is the model's.
    TwoLooksForOneDescription,
    /// Rows go on under the schema that their table had when it was last mapped, though a statement has come between.
    RowUnderTheOldSchema,
    /// Rows that wait for the copy of their table stay, though the source took their transaction back.
    DivertedRowsKept,
    /// A doubt that arises while its table is read is dropped.
    DoubtDroppedWhileRead,
    /// A doubt that arises while its table is read is taken for one that the read settles: chunks from before it count.
    DoubtJoinsBegunRead,
    /// A chunk that was read before a doubt about its table arose is placed as if it had been read after it.
    ChunkFromBeforeDoubtKept,
    /// Rows that are left out between a doubt and its read are counted as appended.
    LeftOutRowsCountedAsAppended,
    /// Rows that are read by key are placed without regard to what the stream has changed since they were read.
    KeysReadWithoutWindow,
    /// A table that is complete stays so where the stream goes on at a place that it has not come to.
    SkippedTableKept,
    /// A prepared transaction is forgotten when the daemon is started again.
    PreparedForgottenAtStart,
    /// The keys of a prepared transaction are noted in snapshot windows when it is prepared, and not when it commits.
    XaKeysNotedAtPrepare,
    /// What is known of definitions counts where the stream goes on at a place that it has not come to.
    DefinitionBelievedOverSkip,
    /// Rows whose `TABLE_MAP` has no names are taken for those of the current schema, though a statement has come since.
    UnnamedRowUnderTheOldSchema,
}

impl Mutant {
    /// Every mutant.
    pub const ALL: [Self; 26] = [
        Self::KeysNotedAtOnce,
        Self::CountersKeptOnRollback,
        Self::PositionSavedAfterTheGroup,
        Self::WindowKeysForgottenAtReconnect,
        Self::KeyBelievedAtOnce,
        Self::LeftOutIdCurrentAgain,
        Self::EngineBelievedAtOnce,
        Self::CaptureNotRecorded,
        Self::ReadOutlivesItsTable,
        Self::ColumnCountNotCompared,
        Self::ReadOfOneSinkCountsForAll,
        Self::LaterDescriptionAdopted,
        Self::PredictionNotCompared,
        Self::TwoLooksForOneDescription,
        Self::RowUnderTheOldSchema,
        Self::DivertedRowsKept,
        Self::DoubtDroppedWhileRead,
        Self::DoubtJoinsBegunRead,
        Self::ChunkFromBeforeDoubtKept,
        Self::LeftOutRowsCountedAsAppended,
        Self::KeysReadWithoutWindow,
        Self::SkippedTableKept,
        Self::PreparedForgottenAtStart,
        Self::XaKeysNotedAtPrepare,
        Self::DefinitionBelievedOverSkip,
        Self::UnnamedRowUnderTheOldSchema,
    ];
}

/// Whether a mutant is on: never, without the feature.
#[cfg(not(feature = "mutants"))]
#[inline]
pub const fn is_on(_: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
thread_local! {
    static ON: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Whether a mutant is on in this thread.
#[cfg(feature = "mutants")]
pub fn is_on(mutant: Mutant) -> bool {
    ON.get() == Some(mutant)
}

/// Turns one mutant on in this thread, and every other off.
#[cfg(feature = "mutants")]
pub fn set(mutant: Option<Mutant>) {
    ON.set(mutant);
}
