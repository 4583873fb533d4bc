package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/palabre-app/palabre/node"
	"github.com/palabre-app/palabre/node/api"
)

// benchPassphrase opens the throw-away profiles of a benchmark.
const benchPassphrase = "a benchmark keeps no secrets"

// benchInFlight is how many notices of a burst are handed over at a time.
const benchInFlight = 64

// benchNode is a node that a benchmark drives over stdin and stdout, one line
// a command. It uses the same store and network as run.
func benchNode(args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("bench-node", flag.ContinueOnError)
	dir := flags.String("dir", "", "folder of the profile")
	name := flags.String("name", "", "name of the person")
	listen := flags.String("listen", "/ip4/127.0.0.1/tcp/0", "address to listen on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	profile := filepath.Join(*dir, "profile")
	err := node.Create(profile, "Node "+*name, []byte(benchPassphrase))
	if err != nil && api.CodeOf(err) != api.CodeProfileExists {
		return err
	}
	n, err := node.Open(node.Config{Dir: profile, Passphrase: []byte(benchPassphrase), Listen: []string{*listen}})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	b := &bench{node: n, out: bufio.NewWriter(out)}
	// Watched before it runs: what comes with the first connection counts too.
	watching := make(chan struct{})
	go n.Watch(ctx, func(ev api.Event) error {
		if ev.Event == api.EventWatching {
			close(watching)
		} else if ev.Event == api.EventNotice && !ev.Own {
			b.received(ctx, ev)
		}
		return nil
	})
	<-watching
	ready, ended := make(chan []string, 1), make(chan error, 1)
	go func() { ended <- n.Run(ctx, func(addrs []string) { ready <- addrs }) }()
	select {
	case b.addrs = <-ready:
	case err := <-ended:
		return errors.Join(err, n.Close())
	}
	b.say("READY")
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) == 0 {
			continue
		}
		if f[0] == "quit" {
			break
		}
		if err := b.command(ctx, f); err != nil {
			b.say("ERR %v", err)
		}
	}
	stop()
	return errors.Join(<-ended, n.Close())
}

type bench struct {
	node  *node.Node
	addrs []string
	mu    sync.Mutex
	out   *bufio.Writer
}

func (b *bench) say(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fmt.Fprintf(b.out, format+"\n", args...)
	b.out.Flush()
}

// received reports a notice of another member: its title is the message's number.
func (b *bench) received(ctx context.Context, ev api.Event) {
	at := time.Now().UnixNano()
	n, err := api.Call[api.Shown](ctx, b.node, api.CommandShow, api.ShowArgs{Group: ev.Group, ID: ev.ID})
	if err == nil {
		b.say("RX %s %d", n.Title, at)
	}
}

func (b *bench) command(ctx context.Context, f []string) error {
	numbers := make([]int, 3)
	for i := range numbers {
		if i+1 < len(f) {
			numbers[i], _ = strconv.Atoi(f[i+1])
		}
	}
	switch f[0] {
	case "addr":
		b.say("ADDR %s", b.addrs[0])
		return nil
	case "connect":
		if _, err := api.Call[api.Done](ctx, b.node, api.CommandConnect, api.ConnectArgs{Addr: f[len(f)-1]}); err != nil {
			return err
		}
	case "create":
		if _, err := api.Call[api.GroupCreated](ctx, b.node, api.CommandGroupCreate, api.GroupCreateArgs{Name: "Bench"}); err != nil {
			return err
		}
		i, err := api.Call[api.Invite](ctx, b.node, api.CommandInvite, api.InviteArgs{Uses: 1000, AutoApprove: true})
		if err != nil {
			return err
		}
		b.say("INVITE %s", i.Link)
		return nil
	case "join":
		j, err := api.Call[api.Joined](ctx, b.node, api.CommandJoin, api.JoinArgs{Link: f[len(f)-1], WaitSeconds: 60})
		switch {
		case api.CodeOf(err) == api.CodeAlreadyInGroup:
		case err != nil:
			return err
		case j.State != api.StateJoined:
			return errors.New("no answer within a minute")
		}
	case "send":
		return b.post(ctx, numbers[0], numbers[1])
	case "burst":
		return b.burst(ctx, numbers[0], numbers[1], numbers[2])
	default:
		return fmt.Errorf("unknown command %q", f[0])
	}
	b.say("OK")
	return nil
}

func (b *bench) post(ctx context.Context, id, size int) error {
	_, err := api.Call[api.Posted](ctx, b.node, api.CommandPost, api.PostArgs{Kind: api.KindAnnouncement,
		Texts: []api.Text{{Lang: "en", Title: strconv.Itoa(id), Body: strings.Repeat("x", size)}}})
	return err
}

func (b *bench) burst(ctx context.Context, first, count, size int) error {
	start := time.Now().UnixNano()
	slots := make(chan struct{}, benchInFlight)
	var all sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for id := first; id < first+count; id++ {
		slots <- struct{}{}
		all.Add(1)
		go func() {
			defer all.Done()
			if err := b.post(ctx, id, size); err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
			}
			<-slots
		}()
	}
	all.Wait()
	if failed != nil {
		return failed
	}
	b.say("SENTALL %d %d", start, time.Now().UnixNano())
	return nil
}
