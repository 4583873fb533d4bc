package store

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/cryptotest"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/engine/enginetest"
	"github.com/palabre-app/palabre/protocol/group"
)

// governed is what one organiser's phone stores while the group is governed: all
// that came before, and the batches of single commands.
type governed struct {
	before []engine.Batch
	deeds  []deed
}

type deed struct {
	name  string
	batch engine.Batch
}

// govern lets three people organise, two of them suspend and expel the third, and
// returns what Ana's phone was to store.
func govern(t *testing.T) governed {
	t.Helper()
	cryptotest.SetGlobalRandom(t, 80)
	w := enginetest.NewWorld(80)
	var all []engine.Batch
	var ana *enginetest.Node
	w.Committed(func(n *enginetest.Node, b engine.Batch) {
		if n == ana && !b.Empty() {
			all = append(all, b)
		}
	})
	ana = w.Add("Ana")
	ben, cam := w.Add("Ben"), w.Add("Cam")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(ana.Found("Jardin", group.DefaultPolicy(10)))
	l, err := ana.Invite(engine.InviteParams{Uses: 2, AutoApprove: true})
	must(err)
	must(ben.Join(l))
	must(cam.Join(l))
	must(w.Run(engine.Seconds(60)))
	for _, x := range []struct{ n, whom *enginetest.Node }{{ana, ben}, {ana, cam}, {ben, cam}} {
		_, err := x.n.Organise(x.whom)
		must(err)
		must(w.Run(engine.Seconds(30)))
	}
	must(w.Run(engine.Seconds(120)))
	g := governed{before: all}
	do := func(name string, f func() error) {
		t.Helper()
		for _, b := range all[len(g.before)+len(g.deeds):] {
			g.deeds = append(g.deeds, deed{batch: b})
		}
		count := len(all)
		must(f())
		if len(all) != count+1 {
			t.Fatalf("%s: %d batches", name, len(all)-count)
		}
		g.deeds = append(g.deeds, deed{name, all[count]})
		must(w.Run(engine.Seconds(90)))
	}
	do("a proposal and its vote", func() error {
		_, err := ana.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
			return e.SetPolicy(now, func(p group.Policy) group.Policy { p.PeriodDays = 3; return p })
		})
		return err
	})
	p, err := ben.Expel(cam)
	must(err)
	must(w.Run(engine.Seconds(30)))
	do("a deciding vote and its epoch", func() error {
		_, err := ana.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) { return e.Vote(now, p.ID.String()) })
		return err
	})
	do("a suspension and its epoch", func() error { return ana.Suspend(ben) })
	return g
}

// whole is all that a reader can see, in all tables.
func whole(s anyStore) (string, error) {
	var b strings.Builder
	for table := range engine.Table(64) {
		err := s.Space(spaceA).Scan(table, nil, func(k, v []byte) error {
			fmt.Fprintf(&b, "%d %x %x\n", table, k, sha256.Sum256(v))
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

func openWhole(dir string) (string, error) {
	d, err := Open(dir, testKey)
	if err != nil {
		return "", err
	}
	defer d.Close()
	return whole(d)
}

// The tests of this file feed the store with what a governed group really writes.

// TestRealBatchesAreWhole cuts off the log at every byte (every n-th, by flag)
// that the commit of a suspension with its epoch, of a proposal with its vote and
// of a deciding vote with its epoch writes, leaves out each block of it, and fails each
// operation on the files: what opens is what was before, or all of it.
func TestRealBatchesAreWhole(t *testing.T) {
	g := govern(t)
	dir := filepath.Join(t.TempDir(), "p")
	d := mustOpen(t, dir)
	defer func() { d.Close() }()
	for _, b := range g.before {
		commit(t, d, spaceA, b)
	}
	try := filepath.Join(t.TempDir(), "p")
	for _, x := range g.deeds {
		if x.name == "" {
			commit(t, d, spaceA, x.batch)
			continue
		}
		// Nothing is in the log but this commit: the ones before have their own tests.
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		closed := snapshot(t, dir)
		d = mustOpen(t, dir)
		old, err := whole(d)
		if err != nil {
			t.Fatal(err)
		}
		im := snapshot(t, dir)
		commit(t, d, spaceA, x.batch)
		log := snapshot(t, dir)[fileDB+"-wal"]
		all, err := whole(d)
		if err != nil || all == old {
			t.Fatalf("%s changes nothing: %v", x.name, err)
		}
		seen := map[bool]int{}
		check := func(what string, log []byte) {
			t.Helper()
			im[fileDB+"-wal"] = log
			im.restore(t, try)
			got, err := openWhole(try)
			if err != nil || got != old && got != all {
				t.Fatalf("%s, %s: %d of %d rows: %v", x.name, what, strings.Count(got, "\n"), strings.Count(all, "\n"), err)
			}
			seen[got == all]++
		}
		for cut := 0; cut < len(log); cut += *flipStep {
			check(fmt.Sprintf("cut at byte %d", cut), log[:cut])
		}
		if len(log) > 0 {
			check("uncut", log)
		}
		for at := 0; at < len(log); at += 4096 {
			gap := bytes.Clone(log)
			clear(gap[at : at+4096])
			check(fmt.Sprintf("without block %d", at/4096), gap)
			check(fmt.Sprintf("up to block %d", at/4096), log[:at])
		}
		// What erases keys has wiped the log by then: of that the operations tell.
		if wiped := len(log) == 0; seen[true] == 0 && !wiped || seen[false] < len(log)/4096 {
			t.Errorf("%s: %v", x.name, seen)
		}
		failed := 0
		for at := 1; ; at += *faultStep {
			closed.restore(t, try)
			disk := &faultVFS{VFS: vfs.Find(""), sticky: true, err: sqlite3.IOERR_WRITE}
			f, err := openOn(try, testKey, disk)
			if err != nil {
				t.Fatal(err)
			}
			disk.at = disk.count + at
			err = f.Commit(spaceA, x.batch)
			f.Close()
			if disk.count < disk.at {
				failed = disk.count - (disk.at - at)
				break
			}
			got, opened := openWhole(try)
			if opened != nil || got != all && (err == nil || got != old) {
				t.Fatalf("%s, operation %d fails: %v, then %d of %d rows: %v", x.name, at, err, strings.Count(got, "\n"), strings.Count(all, "\n"), opened)
			}
		}
		t.Logf("%s: %d rows put, log of %d bytes, %d operations; %d pieces opened as before, %d as after", x.name, len(x.batch.Puts), len(log),
			failed, seen[false], seen[true])
	}
}
