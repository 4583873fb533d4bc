package enginetest

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	runMutants = flag.Bool("mutants", false, "break each rule in turn and demand that its test notices (many minutes)")
	onlyMutant = flag.String("mutant", "", "with -mutants: only those whose name or test matches this expression")
)

// mutant is a rule of the engine that is broken in one place, and the test that is
// about the rule.
type mutant struct{ test, name, file, old, new string }

var mutants = []mutant{
	// Spec 75 section 8, and what headers are kept for (spec 35, 46 section 9).
	{"TestClosedFerry", "a closed ferry is asked", "ferries.go", "case h.Closed:", "case false:"},
	{"TestJoinThroughAFerry/by_itself", "a card at each visit", "meeting.go", "len(m.there)+len(m.known) > 0", "len(m.there) > 0"},
	{"TestJoinThroughAFerry/by_itself", "the Welcome waits for the next visit", "meeting.go", "\t\te.bringWelcomes(l)\n", ""},
	{"TestJoinThroughAFerry/by_itself", "asked at each visit", "meeting.go", "!e.carrierOf(l).asked", "true"},
	{"TestJoinThroughAFerry/by_itself", "a Welcome is offered for ever", "meeting.go", "ok && k.Counter == 0", "ok && k.Counter >= 0"},
	{"TestJoinThroughAFerry/by_itself", "used links are looked after", "meeting.go", "v.Used >= l.Uses", "false"},
	{"TestJoinThroughAFerry/by_itself", "what lies there is fetched again", "meeting.go", "m.known, m.there = c.met.in(id), ", "m.known, m.there = nil, "},
	{"TestJoinThroughAFerry/by_itself", "the link names no ferry", "invite.go", "ferries[:min(len(ferries), protocol.MaxLinkFerries)]", "nil"},
	{"TestHeadersOutliveKeys/standard", "readers forget headers with their keys", "erase.go", "keep := days(e.byRisk(headerDays, headerDaysRisk))", "keep := Time(0)"},
	{"TestHeadersOutliveKeys/high_risk", "headers stay as long as in any group", "erase.go", "keep := days(e.byRisk(headerDays, headerDaysRisk))", "keep := days(headerDays)"},
	{"TestStaleHeadsWhileAllWait/many_at_once", "nothing to compare with while all wait", "lineage.go", "\tif !ok {\n\t\treturn last\n\t}\n\tif _, boxed", "\tif !ok {\n\t\treturn last\n\t}\n\tif !e.covers(last) && e.covers(s) {\n\t\treturn nil\n\t}\n\tif _, boxed"},
	{"TestOutAfterBeingBack/after_new_keys", "keys that were handed to who was back are used again", "choose.go", " && len(e.wasBack(s)) == 0", ""},
	{"TestAlertNamesWhoWasBack", "an alert names none of those who were back", "alerts.go", "people := e.wasBack(s)", "var people []identity.MemberID"},
	// Spec 46 sections 4 and 5.
	{"TestSeedsReachTheOrganisers/high_risk", "no new seed for other organisers", "seeds.go", "if !same && own.told != (protocol.EpochID{}) {", "if false {"},
	{"TestSeedsReachTheOrganisers/high_risk", "who is stopped keeps the seeds", "seeds.go", "if !operates && e.seedsFor.operated {", "if false {"},
	{"TestSeedsReachTheOrganisers/high_risk", "older seeds stay as long as in any group", "seeds.go", "days(e.byRisk(seedDays, seedDaysRisk))", "days(seedDays)"},
	{"TestSeedsReachTheOrganisers/high_risk", "the seed of who is out stays", "seeds.go", "if !in {\n\t\t\tnewest.over = e.now", "if in {\n\t\t\tnewest.over = e.now"},
	{"TestSeedsReachTheOrganisers/high_risk", "the new seed is the old one", "seeds.go", "e.addSeed(e.self.deviceID, epoch.RescueItem{Counter: own.counter + 1, Seed: secret})", "secret = own.secret\n\t\te.addSeed(e.self.deviceID, epoch.RescueItem{Counter: own.counter + 1, Seed: secret})"},
	{"TestSeedsReachTheOrganisers/high_risk", "seeds are told to nobody", "seeds.go", "return e.tellOrganisers(epoch.RescueItem{Counter: own.counter, Seed: own.secret})", "return nil"},
	{"TestSeedsReachTheOrganisers/standard", "seeds go as at high risk", "seeds.go", "days(e.byRisk(seedDays, seedDaysRisk))", "days(seedDaysRisk)"},
	{"TestOldSeedsOpenNothing", "anybody passes with a rescue key", "rescue.go", "Tag: s.tag(), Device: d}", "Tag: s.tag()}"},
	{"TestOldSeedsOpenNothing", "the new seed is the old one, too", "seeds.go", "e.addSeed(e.self.deviceID, epoch.RescueItem{Counter: own.counter + 1, Seed: secret})", "secret = own.secret\n\t\te.addSeed(e.self.deviceID, epoch.RescueItem{Counter: own.counter + 1, Seed: secret})"},
	{"TestOldSeedsOpenNothing", "older seeds are served for good", "seeds.go", "if s.over != 0 && e.now >= e.seedOver(d, s) {", "if false {"},
	{"TestOldSeedsOpenNothing", "who is out is answered", "rescue.go", "; !in || !e.organises() || e.frozen {", "; !in && false || !e.organises() || e.frozen {"},
	{"TestReturnAfterWeeks/high_risk", "no rescue key is dialled", "gate.go", "\tg.Dial = append(g.Dial, e.ownRescueKeys()...)\n\trescue :=", "\trescue :="},
	{"TestReturnAfterWeeks/high_risk", "no rescue key is accepted", "gate.go", "\trescue := e.rescueKeys()", "\trescue := e.rescueKeys()[:0]"},
	{"TestReturnAfterWeeks/high_risk", "no originals for who comes back", "repair.go", "if r.Originals, err = e.missed(m.ID, d); err != nil {\n\t\treturn r, err\n\t}", "_ = m"},
	{"TestReturnAfterWeeks/high_risk", "nothing is sealed again", "resend.go", "if at == 0 || e.now < at || !e.log", "if true || at == 0 || e.now < at || !e.log"},
	{"TestReturnAfterWeeks/standard", "nothing to enter by on a rescue link", "rescue.go", "if _, boxed := slices.BinarySearchFunc(e.log.Resolve().Boxed(), p.rescue.device, compareDevices); boxed {", "if false {"},
	{"TestSuspendedForWeeks", "no rescue key of the suspended", "rescue.go", "len(e.seeds[d.ID]) > 0 && e.cutOff(d.ID)", "len(e.seeds[d.ID]) > 0 && !m.Suspended && e.cutOff(d.ID)"},
	{"TestSuspendedForWeeks", "no operations for who is cut off", "rescue.go", "for _, f := range e.since(heads) {\n\t\te.giveRescued(p, f)\n\t}\n\te.sendHeads(p)", "e.sendHeads(p)"},
	{"TestSuspendedVotesAfterWeeks", "no operation is taken from who is cut off", "rescue.go", "if f.Kind != protocol.KindOp && !isKey {", "if !isKey {"},
	{"TestKeysAreHandedOverOnce", "what was handed over is forgotten", "load.go", "\t\t{tableServed, e.loadServed},\n", ""},
	{"TestSuspendedVotesAfterWeeks", "who is cut off says nothing", "rescue.go", "for _, op := range e.since(r.heads) {", "for _, op := range e.since(r.heads)[:0] {"},
	{"TestLateWelcome", "the seed of a request is forgotten", "welcome.go", "\te.addSeed(kp.Cert.Device.ID(), epoch.RescueItem{Counter: 1, Seed: epoch.RescueSeedFromBytes(r.Rescue)})\n", "\t_ = epoch.RescueItem{}\n"},
	// Section 6.
	{"TestUndoneRemovalComesBack/soon", "nobody knocks", "knock.go", "if k.Left || e.now < Time(k.Next)", "if true || e.now < Time(k.Next)"},
	{"TestUndoneRemovalComesBack/soon", "no net keys when knocking", "knock.go", "if len(g.Dial) < maxDialRescue {", "if false {"},
	{"TestUndoneRemovalComesBack/late", "no rescue keys when knocking", "knock.go", "\tg.Dial = append(g.Dial, e.ownRescueKeys()...)\n", ""},
	{"TestUndoneRemovalComesBack/late", "the keys of who came back are not revived", "knock.go", "if !e.revive {", "if true {"},
	{"TestKnockingIsMetWithSilence", "who is out is expected", "rescue.go", "if d.ID != e.self.deviceID && len(e.seeds[d.ID]) > 0 && e.cutOff(d.ID) {\n\t\t\t\tdevices = append(devices, d.ID)\n\t\t\t}\n\t\t}\n\t}", "_ = d\n\t\t}\n\t}\n\tfor d := range e.seeds {\n\t\tdevices = append(devices, d)\n\t}"},
	{"TestKnockingIsMetWithSilence", "knocks without end", "knock.go", "e.now < Time(k.Next) || e.now >= Time(k.Out)+days(knockDays) {", "e.now < Time(k.Next) {"},
	{"TestKnockingIsMetWithSilence", "the door stays open", "knock.go", "if k.until != 0 && e.now >= k.until {", "if false {"},
	{"TestKnockingIsMetWithSilence", "knocks all the time", "knock.go", "\tif e.now < Time(k.Out)+days(1) {\n\t\tpause = knockFirst", "\tif e.now < Time(k.Out)+days(1) {\n\t\tpause = knockFor"},
	{"TestKnockingIsMetWithSilence", "who knocks lets in", "knock.go", "g.Knocks = true", "g.Knocks = true\n\tg.Accept = e.ownRescueKeys()"},
	// Suspended, given back.
	{"TestGivenBackReadsAndSends", "what a suspended one did counts once lifted", "../group/authority.go", "past.has(s) && (o.seenBy(r) || o.saw(r))", "past.has(s)"},
	{"TestGivenBackAfterSeveralEpochs", "no header for who is out of an epoch", "deposit.go", "if old == nil || done[old] {", "if old == nil || old != nil {"},
	{"TestSuspendedOrganiserDoesNothing", "who is suspended goes on", "../group/authority.go", "return !o.seenBy(s.at) && !a.liftedFor(s.at, o)", "return false && !a.liftedFor(s.at, o)"},
	// Authors (spec 30 section 2, spec 40 section 6.8).
	{"TestAuthorRenewsTheKeys", "no author renews", "author.go", "if e.join != nil || e.frozen || e.authority.alarm || e.organises() {\n\t\treturn false\n\t}\n\tr := e.log.Resolve()\n\tm, ok", "if true {\n\t\treturn false\n\t}\n\tr := e.log.Resolve()\n\tm, ok"},
	{"TestAuthorRenewsTheKeys", "authors have an inbox of their own", "issue.go", "d.Inbox, _ = e.inboxOver(parents)", "_, _ = e.inboxOver(parents)"},
	{"TestAuthorsWaitAndGiveWay", "authors do not wait", "issue.go", "least, spread = authorWait, authorSpread", "least, spread = 0, authorSpread"},
	{"TestAuthorsWaitAndGiveWay", "authors wait too long", "author.go", "authorSpread = Seconds(240)", "authorSpread = Seconds(900)"},
	{"TestAuthorsWaitAndGiveWay", "an author's epoch is as good", "author.go", "; a != b {", "; a != b && false {"},
	{"TestOrganiserRenewsAfterAuthor", "organisers stay in an author's epoch", "issue.go", "if s.header.Core.ByAuthor() && e.planned.over != e.sending {", "if false {"},
	{"TestOrganiserRenewsAfterAuthor", "an organiser renews again and again", "issue.go", "if s.header.Core.ByAuthor() && e.planned.over != e.sending {", "if s.header.Core.ByAuthor() || len(e.ancestors(s)) == 3 {"},
	{"TestOrganiserIsQuicker", "authors are as quick", "issue.go", "least, spread = authorWait, authorSpread", "least, spread = 0, 1"},
	{"TestTwoAuthorsAtOnce", "each sends in what it had first", "author.go", "return bytes.Compare(s.id(), o.id()) < 0", "return s.arrived < o.arrived || s.arrived == o.arrived && bytes.Compare(s.id(), o.id()) < 0"},
	{"TestAuthorIsRemovedMeanwhile", "what an author made who is out by now is refused", "epochs.go", "case ok && !mayIssue(roster, h), h.Core", "case ok && roster != nil && !mayIssue(e.log.Resolve(), h), h.Core"},
	{"TestSuspendedOrganiserLeftBehind", "an author renews for everything but a removal", "author.go", "if !e.log.LeavesOut(heads, p.header.Core.GovHeads) {", "if e.log.LeavesOut(heads, p.header.Core.GovHeads) {"},
	{"TestOnlyWhoMayPostRenews", "any member renews", "author.go", "m.ID == e.self.memberID && r.MayPost(m.ID) && len(r.Boxed())", "m.ID == e.self.memberID && len(r.Boxed())"},
	{"TestAuthorCrashes", "an own header is not stored", "issue.go", "\te.putEpoch(s)\n\treturn true, e.sealAgain", "\te.erase(tableEpochs, s.id())\n\treturn true, e.sealAgain"},
	{"TestFalseAuthorsEpochs", "no audit of an author's boxes", "author.go", " && e.authorMight(s) && e.isExact(s)", " && e.authorMight(s)"},
	{"TestAuthorsRenewForRemovalsOnly", "an author may renew for no reason", "author.go", "if !e.log.LeavesOut(s.header.Core.GovHeads, p.header.Core.GovHeads) {", "if false {"},
	{"TestFalseAuthorsEpochs", "an author takes the inbox", "author.go", "return s.header.KeepsInbox(org) == nil", "return org != nil"},
	{"TestFalseAuthorsEpochs", "an author names any inbox", "author.go", "if sure && len(parents) == len(s.header.Core.Parents) {", "if sure && len(parents) > 99 {"},
	{"TestFalseEpochsDoNotFillUp", "any number of an author's epochs", "author.go", "return n < maxAuthored", "return n >= 0"},
	{"TestFalseEpochsDoNotFillUp", "any number that count", "author.go", "(!e.counts(s) || !succeeded[id])", "(!e.counts(s) || succeeded == nil && !succeeded[id])"},
	{"TestFalseEpochsDoNotFillUp", "an author's epoch moves everybody", "author.go", "; a != b {", "; a != b && false {"},
	{"TestReaderIssuesInVain", "readers issue", "epochs.go", "return r.MayPost(m.ID) && len(r.Boxed())", "return len(r.Boxed())"},
	// Two messages in one place (spec 45 section 3).
	{"TestTwoMessagesInOnePlace", "two frames of one key are not seen", "twice.go", "if l.at == at && l.frame", "if false && l.at == at && l.frame"},
	{"TestTwoMessagesInOnePlace", "two messages of one number are not seen", "messages.go", "return e.carryTwin(f.Device, n), nil // the first stands", "return protocol.Ignore, nil"},
	{"TestTwoMessagesInOnePlace", "a message that follows another one is not seen", "twice.go", "if e.chains[o.Device].forks(c.DevSeq) {", "if false {"},
	{"TestTwoMessagesInOnePlace", "two messages are forgotten", "load.go", "\t\t{tableTwice, e.loadTwice},\n", ""},
	{"TestTwoMessagesInOnePlace", "the second message is not carried", "twice.go", "\treturn protocol.Accept\n", "\treturn protocol.Ignore\n"},
	{"TestTwoMessagesInOnePlace", "who is given back is suspended for the same messages", "twice.go", "o.CreatedAt >= since", "o.CreatedAt < since"},
	{"TestTwoMessagesInOnePlace", "what is shown again is new", "messages.go", "case change.Notice == id && (old == nil || old.full):", "case change.Notice == id:"},
	{"TestTheOtherMessageIsHandedOver", "the second message is handed over in vain", "history.go", "\t\t\te.noteTwice(o.Device, protocol.DayOf(c.CreatedAt))\n", ""},
	// Told beside (spec 46 section 2).
	{"TestRemovalInAnotherRowIsToldAtOnce", "what takes the epoch away waits", "carry.go", "\tcase waits:\n\t\tc.due = 0\n\t\treturn true, e.sealOps(in)\n", ""},
	{"TestRemovalInAnotherRowIsToldAtOnce", "what waits tells nothing", "carry.go", "\tif waits {\n\t\tin = e.epochs[e.lastOps]\n\t}\n", ""},
	// Alerts (group keys section 4.5).
	{"TestAlertIsSentNow", "more readers than was said", "alerts.go", "case len(out) > readers:", "case len(out) > readers+9:"},
	{"TestAlertIsSentNow", "anything goes out", "alerts.go", "case n.Urgency != feed.Alert:", "case false:"},
	{"TestAlertIsSentNow", "readers are not counted", "alerts.go", "people = append(people, e.ownerOf(d))", "_ = d"},
	{"TestAlertIsSentNow", "what was sent waits on", "alerts.go", "e.drafts = slices.DeleteFunc(e.drafts, func(d draft) bool { return d.Number == w.Number })", "_ = slices.DeleteFunc[[]draft]"},
	{"TestAlertReachesWhoComesLater", "a link under the old keys is not a member's", "gate.go", "if s == first || e.counts(s)", "if e.counts(s)"},
	{"TestAlertWaitsByDefault", "against the policy", "alerts.go", "case !e.policy().AlertOverride:", "case false:"},
	{"TestAlertTakesTheBestKeys", "the oldest epoch", "alerts.go", "len(people) < len(out) || len(people) == len(out) && s.goesBefore(best)", "false"},
	{"TestAlertSentNowSurvivesACrash", "a sent draft is not erased", "alerts.go", "\te.erase(tableDrafts, numberKey(w.Number))\n\treturn p", "\treturn p"},
	{"TestAlertIDsAreOfTheText", "ids of a place in the list", "alerts.go", "sum := sha256.Sum256(wire.Marshal(d))", "sum := sha256.Sum256(wire.Marshal(d.Payload))"},
	{"TestHighRiskSaysWhenItGoes", "the author's wish is told", "notices.go", "if last := made + e.textSeconds(); e.policy().HighRisk &&", "if last := made + e.textSeconds(); false &&"},
	{"TestNoticesOfBeforeHighRisk", "the author's wish is shown", "notices.go", "v.Expires = e.soonest(v.Posted, v.Expires)", ""},
	// Pages (spec 65 section 9).
	{"TestRoundsReachAllEpochs", "the same epochs are compared each time", "recon.go", "\tif len(list) > maxReconTags {", "\tif false && len(list) > maxReconTags {"},
	{"TestApartForWeeks", "nobody asks for what it lost", "asked.go", "err := e.tellOrganisersIn(p, e.requestFrom(p.header.ID(), s.header.ID())); err", "err := error(nil); err"},
	{"TestApartForWeeks", "who asks does not tell its new keys", "asked.go", "if err := e.tellKeysIn(p); err != nil {", "if err := error(nil); err != nil {"},
	{"TestApartForWeeks", "catching up does not bring requests", "held.go", "protocol.KindChunk, protocol.KindInbox:", "protocol.KindChunk:"},
	{"TestApartForWeeks", "all that was given is handed over", "asked.go", "case x.Lost == protocol.EpochID{} && held, e.descends(id, x.Lost), e.descends(x.Lost, id):", "default:"},
	{"TestApartForWeeks", "what can be opened is not asked for", "asked.go", "s.keys != nil && !e.hasGap(s)", "s.keys != nil"},
	{"TestApartForWeeks", "who was brought across says nothing", "bridge.go", "e.tellAcross(used, s), e.tellAcross(s, used)", "e.tellAcross(used, nil)"},
	{"TestApartForWeeks", "what others handed over is handed over again, if it was asked for", "served.go", "!e.descends(x.Epoch, id) && !e.repair.asked[d].lacks[id]", "!e.descends(x.Epoch, id)"},
	{"TestRacingEpochs", "generations that were not checked count", "epochs.go", "p != nil && p.accepted", "p != nil"},
	{"TestRacingEpochs", "what was not accepted is bridged", "bridge.go", "e.given(p, s.header.Device) || !p.accepted ||", "e.given(p, s.header.Device) ||"},
	{"TestGivenBackIssuesAlone", "nobody is passed over", "stranded.go", "if !slices.Contains(lacks, e.sending) {\n", "if !slices.Contains(lacks, e.sending) {\n\t\t\tcontinue\n"},
	{"TestSaidAmongLatecomers", "nothing of an ended epoch is sealed again", "resend.go", "if own == nil || !e.endedLongAgo(s) {", "if true {"},
	{"TestSaidAmongLatecomers", "what is with others who are late counts as taken", "held.go", " || e.unsentOf[id].again", ""},
	{"TestSealedAgainIsNotSaidTwice", "what is sealed again is not taken in", "resend.go", "case !held && e.forSelf(c):", "case false:"},
	{"TestOldEpochsGoEverywhere", "what a Welcome brought stays", "join.go", "\te.noteCovered()\n", ""},
	{"TestOldEpochsGoEverywhere", "the last epoch before an absence stays", "erase.go", " || e.leftFarBehind(s, e.tips())", ""},
	{"TestOldReBoxIsForSomebodyElse", "what others handed over is handed over again", "inbox.go", "\t\te.noteHanded(f.Device, x)\n", "\t\t_ = x\n"},
	{"TestRemovedAndMadeOrganiser", "an epoch follows what it adds nothing to", "issue.go", "if e.organises() && e.now < e.periodOver() {", "if false {"},
	{"TestGivenBackIssuesAlone", "nobody tells of epochs whose headers are out of reach", "bridge.go", "if e.bridged == e.version || e.frozen {", "if true {"},
	{"TestHandedOverAndPassedOver", "only who was given the sending epoch is passed over", "stranded.go", "if old := e.newestHad(d, s); old != nil && !e.given(s, d) && !s.keys.HasChain(d) {", "if !e.given(s, d) {\n\t\t\t\tdelete(out, d)\n\t\t\t} else if old := e.newestGiven(d, s); old != nil && len(lacks) < 0 {"},
	{"TestHandedOverBeforeItsOperations", "what cannot be judged yet is dropped", "history.go", "if _, known := e.log.At(c.GovHeads); !known {", "if _, known := e.log.At(c.GovHeads); false && !known {"},
	{"TestHeardOfOnce", "what nobody has is missing for ever", "wants.go", "\te.dropOldWants()\n", ""},
	{"TestBoxThatDoesNotOpen", "a restart forgets who asked", "erase.go", "n.kind == protocol.KindInbox && n.day+2 > e.now.Day()", "false"},
	{"TestHandedOverUnderAnOlderEpoch", "of older epochs keys alone are told", "gate.go", "return n.isKey() || n.kind == protocol.KindReBox || n.kind == protocol.KindChunk }", "return n.isKey() }"},
	{"TestGivenBackIssuesAlone", "what cannot be opened is not followed", "issue.go", "case !e.given(s, e.self.deviceID) && e.sound(s)", "case false && e.sound(s)"},
	{"TestGivenBackIssuesAlone", "nobody puts the header where its issuer could not", "bridge.go", "if p.keys == nil || e.given(p, s.header.Device)", "if true || p.keys == nil || e.given(p, s.header.Device)"},
	{"TestWhatAllHoldIsNotSentAgain", "nobody seals again what others told", "deposit.go", "return e.repeatOps(s, e.parentsOf(s), maxRepeated)", "return e.repeatOps(s, e.parentsOf(s), min(0, maxRepeated))"},
	{"TestWhatAllHoldIsNotSentAgain", "all is sealed again, however much", "deposit.go", "maxRepeated = 256", "maxRepeated = 1 << 20"},
	{"TestWhatAllHoldIsNotSentAgain", "what was told is named again", "gate.go", "!there || s == from", "there || !there"},
	{"TestPagedGroup", "a reader asks for no page", "pages.go", "\t\te.wantPage(at)\n\t\treturn nil", "\t\treturn nil"},
	// Parts that were apart for long (spec 46 sections 8 to 10).
	{"TestNobodyStarves", "keys of who had no box are not told", "deposit.go", "then, ok := e.log.At(parent.header.Core.GovHeads)\n\tif !ok {", "then, ok := e.log.At(parent.header.Core.GovHeads)\n\tif !ok || true {"},
	// A phone that dies (spec 80 section 7).
	{"TestCrashAtEveryWrite/again", "the number of an epoch is not stored", "issue.go", "e.self.state.EpochSeq = d.Seq\n\te.putChainState()", "e.self.state.EpochSeq = d.Seq"},
	{"TestLeaveWhateverIsLost", "a departure is not kept", "govern.go", "\te.keepUnsent(protocol.ItemID(id))\n", "\t_ = id\n"},
	{"TestLeaveWhateverIsLost", "a departure is not stored as unheard", "held.go", "\te.put(tableUnsent, n.id[:], []byte{1}, n.shred)\n", ""},
	{"TestLeaveWhateverIsLost", "given is heard", "wants.go", "\t\t\tp.parted = e.now // only what is heard closes the gate: see parting\n\t\t\tcontinue\n", "\t\t\tp.parted = e.now\n"},
	{"TestLeaveWhateverIsLost", "given is heard at once", "govern.go", "e.now < p.parted+partFor {", "e.now < p.parted {"},
	{"TestLeaveWhateverIsLost", "who left is silent at once", "gate.go", " && !e.leaving() {", " {"},
	{"TestLeaveWhateverIsLost", "who left knocks", "govern.go", "Left: true}", "Left: false}"},
	{"TestLeaveWhateverIsLost", "that one left is not stored", "govern.go", "\te.putKnock()\n\treturn e.settle()", "\treturn e.settle()"},
	// What was found by drawing histories, and on slow lines (spec 46 sections 2 and 5, spec 65).
	{"TestComesBackWithNewKeys", "carried keys are a sign of an opened epoch", "rescue.go", "k.Counter > e.rescued[d].carried", "k.Counter > 0"},
	{"TestToldInAnEpochBeside", "nothing is told in epochs beside", "carry.go", "if did, err := e.tellAside(); did || err != nil {", "if did, err := false, error(nil); did || err != nil {"},
	{"TestSlowLineIsWaitedFor", "a slow line is not waited for", "wants.go", "min(p.gave+wantFor, w.until+wantMost)", "w.until"},
	{"TestSlowLineIsNotWaitedForLong", "a slow line is waited for for ever", "wants.go", "min(p.gave+wantFor, w.until+wantMost)", "p.gave+wantFor"},
	{"TestHolderGivesWhatALineTakes", "all is given at once", "wants.go", " || ahead >= maxAhead", ""},
	{"TestNothingMissing", "equal sets are compared in parts", "check.go", "s.fingerprint() != c.Fingerprint:", "true:"},
	{"TestQuietGroupComparesCheaply", "what never opens here is a difference", "closed.go", "s.recon.Fingerprint(s.closed)", "s.recon.Fingerprint()"},
	{"TestQuietGroupComparesCheaply", "what is unsent elsewhere begins a session", "check.go", "e.unsentIn(asked[i].epoch):", "true:"},
	{"TestClosedComesOnce", "what never opens here is asked for again", "closed.go", "return closed || e.refused[id]", "return false && closed || e.refused[id]"},
	{"TestClosedComesOnce", "what never opens here is asked for again after a start", "load.go", "e.cfg.Storage.Keys(tableClosed, nil, e.loadClosed)", "error(nil)"},
	{"TestClosedComesOnce", "what never opens here outlives its epoch", "erase.go", "\t\t\t\te.dropClosed(c.id)\n", ""},
	{"TestClosedIsBounded", "what never opens here is known without bound", "closed.go", "len(e.closed) >= maxClosed", "false"},
	{"TestFoundAtANewcomers", "own envelopes are not found where some do not open", "check.go", "a == checkClosed && e.unsentIn(asked[i].epoch)", "a == checkClosed && false"},
	{"TestFoundAtANewcomers", "what does not open there counts as held there", "check.go", "answer[i] = checkClosed", "answer[i] = checkSame"},
	{"TestPagesThroughAFerry", "signatures of pages are forgotten at a start", "load.go", "e.scan(tablePagePuts, e.loadPagePut)", "error(nil)"},
	{"TestPagesThroughAFerry", "pages are not looked for at ferries", "ferries.go", "slices.Concat(wanted, e.doorsFor", "slices.Concat(wanted[:0], e.doorsFor"},
	{"TestPagesThroughAFerry", "own pages are offered at each visit", "pagedoors.go", "!over && !c.kept[id]", "!over"},
	{"TestMissedWhileEpochsWereErased", "nobody asks for what he lacks", "recon.go", "return e.askForMissed()", "return nil"},
	{"TestMissedWhileEpochsWereErased", "what is asked for comes by its date", "repair.go", "x != y {", "false && x != y {"},
	{"TestMissedWhileEpochsWereErased", "who lacks messages is handed nothing", "inbox.go", "e.noteMissed(f.Device, x)", ""},
	{"TestFarNumberIsNoEndlessGap", "any number counts as missing", "chain.go", "n >= maxCounted {", "false {"},
	{"TestNobodyStarves", "ReBoxes are not carried on", "passon.go", "if !e.repair.pass {", "if true {"},
	{"TestNobodyStarves", "a parent in common is enough, whoever was given it", "bridge.go", "line[p] && e.allGiven(used, p)", "line[p]"},
	{"TestNewcomerHearsOfWhoIsBack", "keys told before an issuer's time count as told", "leftout.go", "e.looksIn(a, s.header.Device) && ", ""},
	{"TestNewcomerHearsOfWhoIsBack", "who left out somebody unknowingly issues no other epoch", "leftout.go", "e.planned.issued = 0 ", "// "},
	{"TestCheckIsAnsweredForMembers", "another link hears which epochs are held", "check.go", "case !mayKnow || s == nil:", "case s == nil:"},
	{"TestWrittenWhileALinkComesUp", "epochs are compared again after a minute only", "recon.go", "0, e.now+reconAgain", "0, e.now+reconFirst"},
	{"TestLastToldAddressesCount", "addresses told within a second have one time", "presence.go", "if at <= a.at && a.at", "if false && a.at"},
	{"TestFirstOnACircuit", "nothing is named first", "recon.go", "\t\te.nameFirst(p, s)\n", "\t\t_ = s\n"},
	{"TestFirstOnACircuit", "what is new is not told on a circuit", "held.go", "p.limited && p.class", "false && p.class"},
}

// TestMutants breaks each rule and runs the test that is about it, which must fail.
// Without -mutants it wants each to apply still.
func TestMutants(t *testing.T) {
	only := regexp.MustCompile(*onlyMutant)
	dir, noticed := t.TempDir(), 0
	for _, m := range mutants {
		source := filepath.Join("..", m.file)
		b, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(b), m.old); n != 1 {
			t.Errorf("%s: its text is %d times in %s", m.name, n, m.file)
			continue
		}
		if !*runMutants || !only.MatchString(m.name+" "+m.test) {
			continue
		}
		at, err := filepath.Abs(source)
		must(t, err)
		file, overlay, binary := filepath.Join(dir, filepath.Base(m.file)), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "mutant.test")
		list, err := json.Marshal(map[string]map[string]string{"Replace": {at: file}})
		must(t, err)
		must(t, os.WriteFile(file, []byte(strings.Replace(string(b), m.old, m.new, 1)), 0o600))
		must(t, os.WriteFile(overlay, list, 0o600))
		if out, err := exec.Command("go", "test", "-c", "-overlay", overlay, "-o", binary, ".").CombinedOutput(); err != nil {
			t.Errorf("%s: does not build\n%s", m.name, out)
			continue
		}
		out, err := exec.Command(binary, "-test.run", "^"+strings.ReplaceAll(m.test, "/", "$/^")+"$").CombinedOutput()
		if _, at, failed := strings.Cut(string(out), "_test.go:"); err == nil || !failed {
			t.Errorf("%s: %s does not notice (%v)", m.name, m.test, err)
		} else {
			at, _, _ = strings.Cut(at, "\n")
			t.Logf("%s: %s: %.120s", m.name, m.test, at)
			noticed++
		}
	}
	t.Logf("%d of %d mutants are noticed", noticed, len(mutants))
}
