"""Traffic as real users send it, for tests and for bench/realtraffic.py: each scenario is one simulated experiment.

A scenario takes a generator and the number of requests, and answers whether the thing happened that it is about: a
winner was declared, a version was promoted or rolled back, an interval missed. The true class is 0; a wrong answer
is 1. `won` says of each request which version alone is right: 1 the challenger v2, −1 the baseline v1, 0 neither.
"""

from __future__ import annotations

import numpy as np

from app.domain.experiment import CaseFacts
from app.stats.estimates import bar
from tests.unit.monitor.experiment.memory_log import VERSIONS, MemoryLog

CANARY, SHADOW, BALANCED = {"v1": 0.9, "v2": 0.1}, {"v1": 1.0, "v2": 0.0}, {"v1": 0.5, "v2": 0.5}
# No row of the reference stands in it twice, so a row that comes again is the same case.
DISTINCT = CaseFacts(repeated_share=0.0)
ANSWERS = {1: {"v1": 1, "v2": 0}, -1: {"v1": 0, "v2": 1}, 0: {"v1": 0, "v2": 0}}
DIFFER = 0.5
STEPS = 20
MOST_FAILURES = 300


def coins(chance, n, differ=DIFFER, better=0.5):
    """`won` of n independent requests; `better` is the challenger's chance at a disagreement."""
    return np.where(chance.random(n) < differ, np.where(chance.random(n) < better, 1, -1), 0)


def of_users(chance, users, tendencies, differ=DIFFER):
    """`won` of requests by these users, where each user's requests have one tendency to be won by v2."""
    return np.where(
        chance.random(len(users)) < differ, np.where(chance.random(len(users)) < tendencies[users], 1, -1), 0
    )


class Labelled:
    """Requests that are served by chance and labelled by `arrival`, in `STEPS` steps of the monitor."""

    def __init__(self, weights=BALANCED, arrival=None, cases=CaseFacts(), **terms):  # noqa: B008
        self.log = MemoryLog(weights, cases=cases, **terms)
        self._arrival = arrival or (lambda right, chance: 0)

    def run(self, chance, won, happened, *, users=None, keys=None, features=None):
        """Whether `happened(log)` after any step."""
        log, n, waiting = self.log, len(won), {}
        names = [*log.last.weights]
        served = chance.choice(len(names), n, p=[*log.last.weights.values()])
        for place, winner in enumerate(won.tolist()):
            version = names[served[place]]
            row = log.serve(
                ANSWERS[winner],
                version,
                user=0 if users is None else int(users[place]) + 1,
                key=None if keys is None else f"order-{keys[place]}",
                features=None if features is None else f"[{features[place]}]",
            )
            delay = self._arrival(ANSWERS[winner][version] == 0, chance)
            if delay == 0:
                log.label(row)
            elif delay is not None:
                waiting.setdefault(place + delay, []).append(row)
            for late in waiting.pop(place, ()):
                log.label(late)
            if place % -(-n // STEPS) == 0 and happened(log):
                return True
        for place in sorted(waiting):
            for late in waiting[place]:
                log.label(late)
            if place % -(-n // STEPS) == 0 and happened(log):
                return True
        return happened(log)


def has_winner(log):
    """Whether a verdict of better or worse was reached."""
    return log.winner() is not None


def is_promoted(log):
    """Whether the monitor would promote a challenger. A report is made only where one is proven better now."""
    state, need = log.state(), bar(0.05)
    if not any(pair.adjusted.side > 0 and pair.adjusted.log_e >= need for pair in state.pairs.values()):
        return False
    if not any(pair.method.side() > 0 and pair.log_e() >= need for pair in state.pairs.values()):
        return False
    return log.look() is not None


# Users who come again


def users_one_way(chance, n):
    """Users × 20, each of whom one version serves better, always the same."""
    users = chance.permutation(np.repeat(np.arange(n // 20), 20))
    return Labelled().run(chance, of_users(chance, users, chance.integers(0, 2, n), 0.9), has_winner, users=users)


def users_mixed(chance, n):
    """Users × 20 whose tendency is drawn from Beta(2, 2)."""
    users = chance.permutation(np.repeat(np.arange(n // 20), 20))
    return Labelled().run(chance, of_users(chance, users, chance.beta(2, 2, n), 0.9), has_winner, users=users)


def users_pareto(chance, n):
    """Users of whom few send most of the requests, each with one tendency."""
    sizes = np.ceil(chance.pareto(1.1, n) + 1).astype(int)
    users = chance.permutation(np.repeat(np.arange(n), np.minimum(sizes, n // 4))[:n])
    return Labelled().run(chance, of_users(chance, users, chance.integers(0, 2, n)), has_winner, users=users)


def users_twice(chance, n):
    """Users × 2, with one tendency each."""
    users = np.repeat(np.arange(n // 2), 2)
    return Labelled().run(chance, of_users(chance, users, chance.integers(0, 2, n)), has_winner, users=users)


# Requests that are sent again


def _copies(chance, n, many):
    """Numbers of cases, each as often as it is sent: a fifth of them six times, or all twice; n requests."""
    sizes = np.where(chance.random(n) < 0.2, 6, 1) if many else np.full(n, 2)
    return np.repeat(np.arange(n), sizes)[:n]


def _sent_again(chance, n, *, many, keyed):
    cases = _copies(chance, n, many)
    won = coins(chance, n)[cases]
    if keyed:
        return Labelled().run(chance, won, has_winner, keys=cases)
    return Labelled(cases=DISTINCT).run(chance, won, has_winner, features=chance.random(n)[cases])


def fifth_six_times_keyed(chance, n):
    """A fifth of the requests is sent six times, with own keys."""
    return _sent_again(chance, n, many=True, keyed=True)


def fifth_six_times(chance, n):
    """A fifth of the requests is sent six times; a row that comes again can only be the same case."""
    return _sent_again(chance, n, many=True, keyed=False)


def all_twice_keyed(chance, n):
    """All requests are sent twice, with own keys."""
    return _sent_again(chance, n, many=False, keyed=True)


def all_twice(chance, n):
    """All requests are sent twice; a row that comes again can only be the same case."""
    return _sent_again(chance, n, many=False, keyed=False)


def _pool(chance, n, size):
    rows = chance.integers(0, size, n)
    features, won = chance.random(size), coins(chance, size, differ=0.9)
    return Labelled(cases=DISTINCT).run(chance, won[rows], has_winner, features=features[rows])


def small_pool(chance, n):
    """Requests are drawn from 150 rows, as in a load test."""
    return _pool(chance, n, 150)


def large_pool(chance, n):
    """Requests are drawn from 1,000 rows."""
    return _pool(chance, n, 1000)


# Labels that depend on the answer: is an equal challenger promoted?


def wrong_first(right, _chance):
    """A wrong answer is labelled at once, a right one 500 requests later; in the end all are."""
    return 500 if right else 0


def right_less_often(right, chance):
    """A wrong answer is always labelled, a right one in 93 % of cases."""
    return 0 if not right or chance.random() < 0.93 else None


def only_wrong(right, _chance):
    """Only a wrong answer is labelled: a complaint."""
    return None if right else 0


def wrong_first_canary(chance, n):
    """Labels of wrong answers come first, at 90/10."""
    return Labelled(CANARY, wrong_first).run(chance, coins(chance, n), is_promoted)


def wrong_first_shadow(chance, n):
    """Labels of wrong answers come first, in shadow."""
    return Labelled(SHADOW, wrong_first).run(chance, coins(chance, n), is_promoted)


def wrong_first_balanced(chance, n):
    """Labels of wrong answers come first, at 50/50."""
    return Labelled(BALANCED, wrong_first).run(chance, coins(chance, n), is_promoted)


def right_less_often_shadow(chance, n):
    """A label always comes after a wrong answer, and in 93 % of cases after a right one."""
    return Labelled(SHADOW, right_less_often).run(chance, coins(chance, n, differ=0.9), is_promoted)


def users_only_wrong(chance, n):
    """Users × 20 with one tendency each, whose requests are labelled only where the answer was wrong."""
    users = np.repeat(np.arange(n // 20), 20)
    won = of_users(chance, users, chance.integers(0, 2, n))
    return Labelled(SHADOW, only_wrong).run(chance, won, is_promoted, users=users)


def better_and_labelled(chance, n):
    """Power: a better challenger at 90/10, wrong answers labelled first."""
    return Labelled(CANARY, wrong_first).run(chance, coins(chance, n, better=0.7), is_promoted)


# Answers that are missing


def fails_on_the_hardest(chance, n):
    """The challenger, worse overall, repairs 6 points elsewhere and gives no answer to the hardest tenth, in shadow."""
    log = MemoryLog(SHADOW)
    hard, draw = chance.random(n) < 0.1, chance.random(n)
    for place in range(n):
        if hard[place]:
            # The baseline is right on 7 of 10 of these.
            row = log.serve({"v1": int(draw[place] > 0.7)}, "v1", failed=("v2",))
        else:
            row = log.serve(ANSWERS[int(draw[place] < 0.06)], "v1")
        log.label(row)
        if place % (n // STEPS) == 0 and is_promoted(log):
            return True
    return is_promoted(log)


# Intervals


def _leaves_out(interval, truth):
    return interval is not None and not interval[0] <= truth <= interval[1]


def _interval_misses(log, truth):
    return _leaves_out(log.report().comparisons[0].interval, truth)


def _nine_versions(chance, n, steps, looked_at, misses):
    """Nine equal versions of accuracy ½ with every label; whether `misses(report)` at a step that is looked at."""
    log = MemoryLog(dict.fromkeys(VERSIONS, 1 / len(VERSIONS)), labels_exogenous=True)
    wrong = (chance.random((n, len(VERSIONS))) < 0.5).astype(int).tolist()
    served = chance.integers(0, len(VERSIONS), n)
    for place, answers in enumerate(wrong):
        log.label(log.serve(dict(zip(VERSIONS, answers, strict=True)), VERSIONS[served[place]]))
        if place % (n // steps) == 0 and looked_at(log) and misses(log.report()):
            return True
    return misses(log.report())


def any_of_eight_misses(chance, n):
    """Any interval of a difference that is shown of 8 challengers misses at any step."""
    return _nine_versions(
        chance, n, STEPS, _may_miss, lambda report: any(_leaves_out(each.interval, 0.0) for each in report.comparisons)
    )


def _may_miss(log):
    # An interval of the difference that leaves 0 out has evidence against 0: only then a report is needed.
    return any(pair.log_e() > 2 for pair in log.state().pairs.values())


def any_mean_misses(chance, n):
    """Any interval of a version's mean over all rows misses at any of four steps, of 9 versions."""

    def misses(report):
        return any(_leaves_out(each.interval_all, 0.5) for each in report.variants)

    return _nine_versions(chance, n, 4, lambda _log: True, misses)


def _disagreements(chance, n, arrival, per_user=0, **terms):
    """6 % of the requests differ, of which v2 wins three quarters: a difference of .03; agreements have no label."""
    log = MemoryLog(BALANCED, **terms)
    won = coins(chance, n, differ=0.06, better=0.75)
    for place, winner in enumerate(won.tolist()):
        user = place // per_user + 1 if per_user else 0
        row = log.serve(ANSWERS[winner], "v1" if chance.random() < 0.5 else "v2", user=user)
        if winner and arrival(ANSWERS[winner][row.version] == 0, chance) is not None:
            log.label(row)
        if place + 1 in (n // 32, n // 16, n // 8, n // 4, n // 2, n) and _interval_misses(log, 0.03):
            return True
    return False


def only_disagreements(chance, n):
    """All disagreements are labelled, and nothing else: does a shown interval miss the difference on all traffic?"""
    return _disagreements(chance, n, lambda right, chance: 0)


def half_the_disagreements(chance, n):
    """Half of the disagreements is labelled, whatever was answered, and declared so."""
    return _disagreements(chance, n, lambda right, chance: 0 if chance.random() < 0.5 else None, labels_exogenous=True)


def only_disagreements_of_users(chance, n):
    """All disagreements of users × 20 are labelled, and nothing else: nearly every user has one at some time."""
    return _disagreements(chance, n, lambda right, chance: 0, per_user=20)


def complaints_only(chance, n):
    """Disagreements are labelled only where the served answer was wrong."""
    return _disagreements(chance, n, only_wrong)


# Guardrails


def one_slow_client(chance, n):
    """One client of 40, with a tenth of the requests, is slow whatever version answers; sticky."""
    log = MemoryLog(BALANCED, policy="sticky")
    clients = np.where(chance.random(n) < 0.1, 0, chance.integers(1, 40, n))
    versions = np.where(chance.random(40) < 0.5, "v1", "v2")
    latencies = np.where(clients == 0, 30_000, 100) * np.exp(chance.normal(0, 0.3, n))
    for client, latency in zip(clients.tolist(), latencies.tolist(), strict=True):
        log.serve(ANSWERS[0], str(versions[client]), user=client + 1, latency_us=int(latency))
    return bool(log.crossed())


def _failures(chance, n, rates, weights=BALANCED, users=2):
    """The versions that a guardrail takes out while v2 fails up to `MOST_FAILURES` times, served or in shadow.

    Each version fails at its rate on the requests of so many users, and the other answers then.
    """
    log = MemoryLog(weights)
    names, other = [*weights], {"v1": "v2", "v2": "v1"}
    fails = chance.random((n, 2)) < [rates[name] for name in names]
    chosen = chance.choice(2, n, p=[*weights.values()])
    counted = np.cumsum(fails[:, 1])
    for place in range(int(np.searchsorted(counted, MOST_FAILURES, side="right"))):
        name, failed = names[chosen[place]], [each for each, fail in zip(names, fails[place], strict=True) if fail]
        answers = {each: 0 for each in names if each not in failed}
        # Where both fail there is no answer, and no row.
        if answers:
            version = name if name in answers else other[name]
            log.serve(answers, version, chosen=name, user=int(chance.integers(users)) + 1, failed=failed)
        if place % 100 == 0 and log.crossed():
            break
    return log.crossed()


def two_backends_one_broken(chance, n):
    """Two backends are the only users; v2 fails on a fifth of the requests; rolled back within 300 failures."""
    return "v2" in _failures(chance, n, {"v1": 0.0, "v2": 0.2})


def broken_in_shadow(chance, n):
    """v2 fails on a fifth of the requests, in shadow."""
    return "v2" in _failures(chance, n, {"v1": 0.0, "v2": 0.2}, SHADOW)


def both_fail_alike(chance, n):
    """Both versions fail on a tenth of the requests, at 90/10."""
    return bool(_failures(chance, n, {"v1": 0.1, "v2": 0.1}, CANARY, users=500))


def each_fails_some_users(chance, n):
    """Users × 20, who stay with one version. v1 fails on all requests of 5 % of them, v2 on those of another 5 %."""
    log, users = MemoryLog(BALANCED, policy="sticky"), chance.permutation(np.repeat(np.arange(n // STEPS), STEPS))
    broken, assigned = chance.choice(3, n // STEPS, p=[0.9, 0.05, 0.05]), chance.integers(1, 3, n // STEPS)
    for place, user in enumerate(users.tolist()):
        failed = [] if not broken[user] else [f"v{broken[user]}"]
        answers = {name: 0 for name in BALANCED if name not in failed}
        chosen = f"v{assigned[user]}"
        log.serve(
            answers, chosen if chosen in answers else next(iter(answers)), chosen=chosen, user=user + 1, failed=failed
        )
        if place % 100 == 0 and log.crossed():
            break
    return bool(log.crossed())


# Rewards that are told when they happen


WINDOW_S = 300.0


def _converting(chance, n, zeros, **terms):
    """Both versions convert 30 %: v2 after seconds, v1 after minutes. A request comes each second."""
    log = MemoryLog(BALANCED, metric="reward", tick_s=0.0, reward_window_s=WINDOW_S, **terms)
    due: dict[int, list] = {}
    served, converted = chance.random(n) < 0.5, chance.random(n) < 0.3
    for second in range(n + int(WINDOW_S)):
        log.at(second)
        if second < n:
            row = log.serve(ANSWERS[0], "v2" if served[second] else "v1")
            if converted[second]:
                due.setdefault(second + (2 if served[second] else 250), []).append((row, 1.0))
            elif zeros:
                due.setdefault(second + int(chance.integers(1, WINDOW_S)), []).append((row, 0.0))
        for row, value in due.pop(second, ()):
            log.reward(row, value)
        if second % 100 == 0 and log.winner():
            return True
    log.at(n + 2 * WINDOW_S)
    log.heartbeat()
    return has_winner(log)


def sooner_with_zeros(chance, n):
    """One version converts sooner and both alike in the end; zeros are told in between, ones at once."""
    return _converting(chance, n, zeros=True)


def sooner_without_zeros(chance, n):
    """One version converts sooner and both alike in the end; only conversions are told."""
    return _converting(chance, n, zeros=False)


def rewards_of_users(chance, n):
    """Users × 20 with a reward that depends on the version, for each user another way."""
    users = chance.permutation(np.repeat(np.arange(n // 20), 20))
    tendency = chance.integers(0, 2, n)
    log = MemoryLog(BALANCED, metric="reward")
    for place, user in enumerate(users.tolist()):
        second = chance.random() < 0.5
        row = log.serve(ANSWERS[0], "v2" if second else "v1", user=user + 1)
        log.reward(row, float(second == tendency[user]))
        if place % (n // STEPS) == 0 and has_winner(log):
            return True
    return has_winner(log)


def rewarded_sooner_for_users_who_stay(chance, n):
    """Users × 5 who stay; 30 % of requests earn 1. v2's are reported at once, v1's later, zeros in between."""
    log, due = MemoryLog(BALANCED, policy="sticky", metric="reward"), {}
    assigned = chance.random(n // 5 + 1) < 0.5
    for place in range(n):
        version, value = "v2" if assigned[place // 5] else "v1", float(chance.random() < 0.3)
        row = log.serve(ANSWERS[0], version, user=place // 5 + 1)
        due.setdefault(place + (30 if not value else 2 if version == "v2" else 60), []).append((row, value))
        for told, reward in due.pop(place, ()):
            log.reward(told, reward)
        if place % (n // STEPS) == 0 and is_promoted(log):
            return True
    return is_promoted(log)


def worse_on_hot_rows(chance, n):
    """60 % of the requests are about five rows, on which v2 is wrong; it is better on all others."""
    hot, log = chance.random(n) < 0.6, MemoryLog(SHADOW, cases=DISTINCT, labels_exogenous=True)
    for place in range(n):
        row = int(chance.integers(5)) if hot[place] else 5 + place
        answers = ANSWERS[-1] if hot[place] else ANSWERS[int(chance.random() < 0.3)]
        log.label(log.serve(answers, "v1", features=f"[{row}]"))
        if place % (n // STEPS) == 0 and is_promoted(log):
            return True
    return is_promoted(log)


def sooner_for_one_version(chance, n):
    """Users × 5 who like everything and users × 1 who like little; v2's rewards are told sooner than v1's.

    Which of a user's rewards is told first depends on the version. So the first one told is that of v2 for nearly all
    of the users with many requests, and it must not be the one that votes.
    """
    log = MemoryLog(BALANCED, metric="reward")
    waiting, user, served = [], 0, 0
    while served < n:
        user += 1
        many = chance.random() < 0.3
        for _ in range(5 if many else 1):
            served += 1
            value = float(chance.random() < (0.9 if many else 0.1))
            version = "v2" if chance.random() < 0.5 else "v1"
            waiting.append((served + (5 if version == "v2" else 50), log.serve(ANSWERS[0], version, user=user), value))
        for each in sorted((each for each in waiting if each[0] <= served), key=lambda each: each[0]):
            log.reward(each[1], each[2])
        waiting = [each for each in waiting if each[0] > served]
    return has_winner(log)
