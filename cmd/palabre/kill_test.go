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

	acked := map[string]api.Text{}      // by id
	written := map[string]string{}      // bodies by title, acknowledged or not
	waiting := map[string]bool{}        // titles that were saved, and get their id with the group's next keys
	unanswered, atStart, mid := 0, 0, 0 // what the run has really tried
	for cycle := range *kills {
		if cycle%5 == 4 {
			p.kill()
			startAndKill(t, p, time.Duration(5+rng.IntN(296))*time.Millisecond)
			atStart++
			must(t, p.on(onTCP))
		}
		before := len(acked)
		battery := p.running
		c, err := api.Dial(p.dir)
		must(t, err)
		time.AfterFunc(time.Duration(5+rng.IntN(296))*time.Millisecond, func() { battery.cmd.Process.Kill() })
		for i := 0; ; i++ {
			text := api.Text{Lang: "fr", Title: fmt.Sprintf("Avis %d de %d", i, cycle),
				Body: strings.Repeat(fmt.Sprintf("ligne %d. ", rng.IntN(1000)), 1+rng.IntN(200))}
			written[text.Title] = text.Body
			posted, err := api.Call[api.Posted](context.Background(), c, api.CommandPost,
				api.PostArgs{Kind: api.KindAnnouncement, Texts: []api.Text{text}})
			if err != nil {
				if api.CodeOf(err) != "" && api.CodeOf(err) != api.CodeNotRunning {
					t.Fatalf("cycle %d: a post was refused: %v", cycle, err)
				}
				break
			}
			if posted.ID == "" {
				waiting[text.Title] = true
				continue
			}
			acked[posted.ID] = text
		}
		<-battery.ended
		p.kill()
		if len(acked) > before {
			mid++
		}
		must(t, p.on(onTCP))
		unanswered += holdsAll(t, p, cycle, acked, written, waiting)
	}
	held := len(waiting)
	must(t, p.until("what was saved without an id", func() (bool, error) {
		unanswered += holdsAll(t, p, *kills, acked, written, waiting)
		return len(waiting) == 0, nil
	}))
	if mid < *kills/2 {
		t.Errorf("only %d of %d cycles acknowledged anything", mid, *kills)
	}
	t.Logf("%d kills while writing and %d while starting: %d notices acknowledged, none lost, none altered; %d were saved that nobody was told of, and %d waited for new keys after the last cycle",
		*kills, atStart, len(acked)-unanswered, unanswered, held)
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

// holdsAll checks the list against what was acknowledged and written. It returns
// 1 if the last cycle saved a notice without an answer. What was shown counts as
// acknowledged from now on.
func holdsAll(t *testing.T, p *person, cycle int, acked map[string]api.Text, written map[string]string, waiting map[string]bool) (more int) {
	t.Helper()
	list := sees(t, p).Notices
	seen := map[string]bool{}
	for _, n := range list {
		text, ok := acked[n.ID]
		switch {
		case seen[n.ID]:
			t.Errorf("cycle %d: a notice is listed twice", cycle)
		case ok && (n.Title != text.Title || n.Body != text.Body || n.Status != api.StatusActive):
			t.Errorf("cycle %d: an acknowledged notice is altered", cycle)
		case !ok && (written[n.Title] == "" || written[n.Title] != n.Body):
			t.Errorf("cycle %d: nobody wrote %q", cycle, n.Title)
		case !ok:
			if !waiting[n.Title] {
				more++
			}
			delete(waiting, n.Title)
			acked[n.ID] = api.Text{Lang: n.Lang, Title: n.Title, Body: n.Body}
		}
		seen[n.ID] = true
	}
	for id, text := range acked {
		if !seen[id] {
			t.Errorf("cycle %d: %q was acknowledged and is lost", cycle, text.Title)
		}
	}
	if more > 1 {
		t.Errorf("cycle %d: %d notices without an answer, one was under way", cycle, more)
	}
	return more
}
