package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/palabre-app/palabre/node/api"
)

// kills is how often the process is killed:
//
//	go test ./cmd/palabre -run TestKilledProcessLosesNothing -kills=100 -v
var kills = flag.Int("kills", 20, "cycles of killing a process that writes")

// A process that is killed while it writes has, when it runs again, all that it
// acknowledged, unaltered, and nothing that nobody wrote.
func TestKilledProcessLosesNothing(t *testing.T) {
	t.Parallel()
	const seed = 58
	rng := rand.New(rand.NewPCG(seed, uint64(*kills)))
	p := someone(t, place(t), "Awa")
	must(t, p.on(onTCP))
	must(t, p.do(nil, "group", "create", "Les voisins"))

	w := written{acked: map[string]api.Text{}, waiting: map[string]string{}, cut: map[string]string{}}
	answered, nameless, atStart, mid := 0, 0, 0, 0 // what the run has really met
	for cycle := range *kills {
		if cycle%5 == 4 {
			p.kill()
			startAndKill(t, p, time.Duration(5+rng.IntN(296))*time.Millisecond)
			atStart++
			must(t, p.on(onTCP))
		}
		before := answered
		battery := p.running
		c, err := api.Dial(p.dir)
		must(t, err)
		time.AfterFunc(time.Duration(5+rng.IntN(296))*time.Millisecond, func() { battery.cmd.Process.Kill() })
		for i := 0; ; i++ {
			text := api.Text{Lang: "fr", Title: fmt.Sprintf("Avis %d de %d", i, cycle),
				Body: strings.Repeat(fmt.Sprintf("ligne %d. ", rng.IntN(1000)), 1+rng.IntN(200))}
			posted, err := api.Call[api.Posted](context.Background(), c, api.CommandPost,
				api.PostArgs{Kind: api.KindAnnouncement, Texts: []api.Text{text}})
			if err != nil {
				if api.CodeOf(err) != "" && api.CodeOf(err) != api.CodeNotRunning {
					t.Fatalf("cycle %d: a post was refused: %v", cycle, err)
				}
				w.cut[text.Title] = text.Body
				break
			}
			answered++
			if posted.ID == "" {
				w.waiting[text.Title] = text.Body
				nameless++
				continue
			}
			w.acked[posted.ID] = text
		}
		<-battery.ended
		p.kill()
		if answered > before {
			mid++
		}
		must(t, p.on(onTCP))
		w.check(t, p, cycle)
	}
	must(t, p.until("what was saved without an id", func() (bool, error) {
		w.check(t, p, *kills)
		return len(w.waiting) == 0, nil
	}))
	if mid < *kills/2 {
		t.Errorf("only %d of %d cycles acknowledged anything", mid, *kills)
	}
	t.Logf("%d kills while writing and %d while starting: %d notices acknowledged, %d of them without an id until the group's keys were renewed; none lost, none altered",
		*kills, atStart, answered, nameless)
	must(t, p.off())
}

// startAndKill starts the node and kills it, ready or not.
func startAndKill(t *testing.T, p *person, after time.Duration) {
	t.Helper()
	x, err := p.launch(func(string) {}, "run", "--listen", onTCP)
	must(t, err)
	battery := time.AfterFunc(after, func() { x.cmd.Process.Kill() })
	defer battery.Stop()
	<-x.ended
}

// written is what was handed to a process that was killed.
type written struct {
	acked   map[string]api.Text // acknowledged or shown since, by id
	waiting map[string]string   // acknowledged without an id: it comes with the group's next keys. Bodies by title
	cut     map[string]string   // not answered, so that it may be saved or not. Bodies by title
}

// check compares the list with what was written.
func (w written) check(t *testing.T, p *person, cycle int) {
	t.Helper()
	seen := map[string]bool{}
	for _, n := range sees(t, p).Notices {
		if seen[n.ID] {
			t.Errorf("cycle %d: %q is listed twice", cycle, n.Title)
		}
		seen[n.ID] = true
		text, known := w.acked[n.ID]
		if !known {
			body, waited := w.waiting[n.Title]
			if !waited {
				body = w.cut[n.Title]
			}
			text = api.Text{Lang: "fr", Title: n.Title, Body: body}
			delete(w.waiting, n.Title)
			delete(w.cut, n.Title)
			w.acked[n.ID] = text
		}
		if n.Title != text.Title || n.Body != text.Body || n.Lang != text.Lang || n.Status != api.StatusActive {
			t.Errorf("cycle %d: %q is altered, or nobody wrote it", cycle, n.Title)
		}
	}
	for id, text := range w.acked {
		if !seen[id] {
			t.Errorf("cycle %d: %q was acknowledged and is lost", cycle, text.Title)
		}
	}
}
