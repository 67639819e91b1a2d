"""No bytes for an old member reach a reused descriptor, and each member gets what was queued while it was in."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from openline.hub.tick import Tick
from openline.transports.group import DescriptorGroup
from tests.transports.pairs import PairTransport

LIMIT = 20_000
GROUPS = 2


class Member:
    """One line, and what its peer must get: ``due`` whole, or a beginning of it where the line was cut."""

    def __init__(self) -> None:
        self.transport = PairTransport()
        self.wire = self.transport.make_wire(LIMIT)
        self.due = bytearray()
        self.whole = True
        #: Which of its stays in a group is the present one.
        self.stays: dict[int, int] = {}


class Descriptors(RuleBasedStateMachine):
    """Lines come and go and are cut while frames are queued; the kernel gives the numbers of the old to the new."""

    def __init__(self) -> None:
        super().__init__()
        self.tick = Tick(lambda _: None)
        self.groups = [DescriptorGroup() for _ in range(GROUPS)]
        self.members: list[Member] = []
        self.closing: list[Member] = []
        self.queued: list[tuple[bytes, list[tuple[Member, int | None, int]]]] = []
        self.numbers = 0
        for _ in range(3):
            self.opens()

    def frame(self, size: int) -> bytes:
        self.numbers += 1
        return (b"<%07d>" % self.numbers).ljust(size, b".")

    def some(self, data: st.DataObject) -> Member:
        return data.draw(st.sampled_from(self.members))

    @precondition(lambda self: len(self.members) < 8)
    @rule()
    def opens(self) -> None:
        self.members.append(Member())

    @precondition(lambda self: self.members)
    @rule(data=st.data(), group=st.integers(0, GROUPS - 1))
    def joins(self, data: st.DataObject, group: int) -> None:
        member = self.some(data)
        if group not in member.stays:
            self._join(member, group)

    def _join(self, member: Member, group: int) -> None:
        self.numbers += 1
        member.stays[group] = self.numbers
        self.groups[group].join(member.wire)

    @precondition(lambda self: self.members)
    @rule(data=st.data(), group=st.integers(0, GROUPS - 1))
    def leaves(self, data: st.DataObject, group: int) -> None:
        self._leave(self.some(data), group)

    def _leave(self, member: Member, group: int) -> None:
        member.stays.pop(group, None)
        self.groups[group].leave(member.wire)
        self.tick.left(self.groups[group])

    @precondition(lambda self: self.members)
    @rule(data=st.data(), group=st.integers(0, GROUPS - 1))
    def comes_and_goes_until_the_group_is_sparse(self, data: st.DataObject, group: int) -> None:
        member = self.some(data)
        for _ in range(50):
            self._leave(member, group)
            self._join(member, group)

    @rule(data=st.data(), group=st.integers(0, GROUPS - 1), size=st.sampled_from([9, 1000, 6000]))
    def is_published(self, data: st.DataObject, group: int, size: int) -> None:
        skipped = data.draw(st.sets(st.sampled_from(self.members), max_size=2)) if self.members else set()
        frame = self.frame(size)
        self.tick.to_group(self.groups[group], frame, frozenset(member.wire for member in skipped))
        stays = [(m, group, m.stays[group]) for m in self.members if group in m.stays and m not in skipped]
        self.queued.append((frame, stays))

    @precondition(lambda self: self.members)
    @rule(data=st.data(), size=st.sampled_from([9, 1000, 6000]))
    def is_sent_to_one(self, data: st.DataObject, size: int) -> None:
        member, frame = self.some(data), self.frame(size)
        self.tick.to_wire(member.wire, frame)
        self.queued.append((frame, [(member, None, 0)]))

    @rule()
    def the_turn_ends(self) -> None:
        for frame, stays in self.queued:
            for member, group, stay in stays:
                if member in self.members and (group is None or member.stays.get(group) == stay):
                    member.due += frame
        self.queued.clear()
        self.tick.flush()
        for member in [m for m in self.members if not m.wire.open]:
            # Cut: too slow, or its peer has gone.
            assert member.transport.too_slow == 1
            member.whole = False
            self._retire(member)
        for member in self.members:
            assert member.wire.waiting <= LIMIT

    @precondition(lambda self: self.members)
    @rule(data=st.data(), size=st.sampled_from([1, 3000, 100_000]), runs=st.booleans())
    def reads(self, data: st.DataObject, size: int, runs: bool) -> None:
        member = data.draw(st.sampled_from(self.members + self.closing))
        if member.transport.theirs.fileno() >= 0:
            member.transport.read(size)
        if runs:
            member.transport.pump()

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def hangs_up(self, data: st.DataObject) -> None:
        member = self.some(data)
        member.transport.drain()
        member.transport.theirs.close()
        member.whole = False

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def is_closed(self, data: st.DataObject) -> None:
        member = self.some(data)
        member.transport.write(member.wire.shut())
        self._retire(member)

    def _retire(self, member: Member) -> None:
        assert not member.wire.places
        member.stays.clear()
        self.members.remove(member)
        self.closing.append(member)

    @precondition(lambda self: self.closing)
    @rule()
    def is_gone(self) -> None:
        self._settle(self.closing.pop(0))

    @precondition(lambda self: self.closing)
    @rule()
    def is_gone_and_another_gets_its_number(self) -> None:
        old = self.closing.pop(0)
        number = old.transport.ours.fileno()
        self._settle(old)
        self.members.append(Member())
        numbers = {end.fileno() for end in (self.members[-1].transport.ours, self.members[-1].transport.theirs)}
        assert number in numbers
        for group in range(GROUPS):
            self._join(self.members[-1], group)

    def _settle(self, member: Member) -> None:
        if member.transport.theirs.fileno() >= 0:
            member.transport.drain()
        got = bytes(member.transport.got)
        member.transport.close()
        assert got == member.due if member.whole else member.due.startswith(got)

    def teardown(self) -> None:
        self.the_turn_ends()
        assert all(len(group) == sum(n in m.stays for m in self.members) for n, group in enumerate(self.groups))
        for member in self.members + self.closing:
            self._settle(member)


Descriptors.TestCase.settings = settings(max_examples=60, stateful_step_count=60)
TestDescriptors: Any = Descriptors.TestCase
