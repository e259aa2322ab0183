//! Who is lent memory, who waits for it, and who gives it back.

use std::time::Duration;

use super::*;

fn memory(pool: &Pool) -> usize {
    lock(&pool.kept).units
}

/// A buffer for somebody who has been quick.
async fn quickly(pool: &Arc<Pool>, length: usize) -> Buffer {
    let mut borrower = pool.borrower();
    borrower.quick = true;
    borrower.take(length).await
}

#[tokio::test]
async fn all_that_is_lent_and_kept_stays_within_the_pool() {
    let pool = Pool::new(12 * UNIT, 3 * UNIT);
    let small: Vec<_> =
        [quickly(&pool, 1).await, quickly(&pool, UNIT).await, quickly(&pool, 10).await].into();
    assert_eq!((small[0].len(), small[1].len(), memory(&pool)), (1, UNIT, 3), "the reserve is lent");
    let mut large = pool.borrower().take(7 * UNIT).await;
    large[7 * UNIT - 1] = 7;
    assert_eq!(memory(&pool), 10);
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { quickly(&pool, 3 * UNIT).await.len() }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "there is no memory for it");
    drop(large);
    assert_eq!(waiting.await.unwrap(), 3 * UNIT);
    assert!(memory(&pool) <= 12, "the large buffer made room");
    drop(small);
    drop(pool.borrower().take(9 * UNIT).await);
    assert!(memory(&pool) <= 12);
}

#[tokio::test]
async fn memory_is_used_again() {
    let pool = Pool::new(8 * UNIT, UNIT);
    let mut first = pool.borrower().take(UNIT).await;
    first[0] = 42;
    drop(first);
    assert_eq!(pool.borrower().take(UNIT).await[0], 42);
    assert_eq!(memory(&pool), 1);
    assert_eq!(Pool::new(0, 3 * UNIT).borrower().take(3 * UNIT).await.len(), 3 * UNIT, "one always fits");
}

#[tokio::test(start_paused = true)]
async fn the_reserve_is_for_those_who_have_been_quick_and_for_no_others() {
    let pool = Pool::new(4 * UNIT, UNIT);
    let mut borrower = pool.borrower();
    let _held = [pool.borrower().take(UNIT).await, pool.borrower().take(UNIT).await];
    let third = borrower.take(UNIT).await;
    let waits = |borrower: &Borrower| {
        let taking = borrower.take(UNIT);
        async move { tokio::time::timeout(Duration::from_secs(5), taking).await.is_err() }
    };
    assert!(waits(&borrower).await, "nobody knows how quick it is");
    borrower.filling(UNIT, true);
    tokio::time::advance(pool.terms.quick).await;
    borrower.filled();
    assert!(!waits(&borrower).await);
    // The next one takes too long for that.
    let fourth = borrower.take(UNIT).await;
    borrower.filling(UNIT, true);
    tokio::time::advance(pool.terms.quick + Duration::from_millis(1)).await;
    borrower.filled();
    drop(fourth);
    assert!(waits(&borrower).await);
    drop(third);
    assert!(!waits(&borrower).await);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_has_slow_holders_give_back() {
    let pool = Pool::new(UNIT, UNIT);
    for _ in 0..3 {
        let slow = pool.borrower();
        let buffer = slow.take(UNIT).await;
        slow.filling(1, true);
        let next = tokio::spawn(pool.borrower().take(UNIT));
        slow.recalled().await;
        assert!(!next.is_finished());
        drop(buffer);
        next.await.unwrap();
    }
}
