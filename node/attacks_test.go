package node

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/store"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/wire"
)

// tap is a TCP port that passes on what comes to another one, and keeps it.
type tap struct {
	net.Listener
	to   string
	mu   sync.Mutex
	kept []byte
	all  sync.WaitGroup
}

func listenOn(t *testing.T, to string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{Listener: l, to: to}
	p.all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", p.to)
			if err != nil {
				in.Close()
				continue
			}
			p.all.Go(func() { p.pass(in, out) })
			p.all.Go(func() { p.pass(out, in) })
		}
	})
	t.Cleanup(func() { l.Close(); p.all.Wait() })
	return p
}

func (p *tap) pass(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	b := make([]byte, 16<<10)
	for {
		n, err := from.Read(b)
		p.mu.Lock()
		p.kept = append(p.kept, b[:n]...)
		p.mu.Unlock()
		if _, failed := to.Write(b[:n]); err != nil || failed != nil {
			return
		}
	}
}

func (p *tap) seen() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone(p.kept)
}

// Rows 16 and 49 of spec 95: phones that have TCP only join, write and catch up;
// and on the wire between them, of the handshakes and of all that follows, no
// byte sequence is a key or an id of a person, a device or the group.
func TestTCPOnlyAndNoLastingKeyOnTheWire(t *testing.T) {
	w := newWorld(t)
	tcp := func(name string) *phone {
		return w.startWith(Config{Dir: w.profile(name), Listen: []string{"/ip4/127.0.0.1/tcp/0"}}, name, nil)
	}
	ana, ben := tcp("Ana"), tcp("Ben")
	id := groupID(t, ana.found(api.GroupCreateArgs{}))
	own := func(p *phone) string {
		var at string
		p.inside(func() {
			for _, a := range p.sortedGroups()[0].own {
				if strings.Contains(a, "/udp/") {
					t.Errorf("%s listens on %s", p.name, a)
				}
				at = a
			}
		})
		var port int
		if _, err := fmt.Sscanf(at, "/ip4/127.0.0.1/tcp/%d", &port); err != nil {
			t.Fatalf("%s is at %q", p.name, at)
		}
		return fmt.Sprint("127.0.0.1:", port)
	}
	line := listenOn(t, own(ana))
	ana.admit("", ben)
	post1(t, ana, "par TCP")
	w.shows([]string{"par TCP"}, ana, ben)

	// From here on every connection that Ben makes is looked at: he starts anew,
	// and is told the tap's address.
	ben.stop()
	post1(t, ana, "entre-temps")
	ben = w.startWith(Config{Dir: ben.dir, Listen: []string{"/ip4/127.0.0.1/tcp/0"}}, "Ben", nil)
	call[api.Done](t, ben, api.CommandConnect, api.ConnectArgs{Addr: "/ip4/127.0.0.1/tcp/" + line.Addr().String()[len("127.0.0.1:"):]})
	w.shows([]string{"par TCP", "entre-temps"}, ana, ben)
	w.until("the handshake to pass the tap", func() bool { return bytes.Contains(line.seen(), []byte("/noise")) })

	secret := map[string][]byte{"group": id[:]}
	for _, p := range []*phone{ana, ben} {
		p.inside(func() {
			g := p.sortedGroups()[0]
			for name, b := range keysOf(t, p, g) {
				secret[p.name+" "+name] = b
			}
		})
	}
	if len(secret) != 9 {
		t.Fatalf("%d keys are looked for", len(secret))
	}
	find := func(in []byte) (found []string) {
		for name, b := range secret {
			if bytes.Contains(in, b) || bytes.Contains(in, []byte(hex.EncodeToString(b))) {
				found = append(found, name)
			}
		}
		return found
	}
	if found := find(line.seen()); len(found) > 0 {
		t.Errorf("in %d bytes: %q", len(line.seen()), found)
	}
	// The same search finds what is sent through the tap.
	c, err := net.Dial("tcp", line.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write(append([]byte("x"), secret["Ana device"]...))
	io.Copy(io.Discard, c) // until the phone closes
	if len(find(line.seen())) != 1 {
		t.Error("the search finds nothing that was sent")
	}
}

// keysOf are the lasting public keys and ids of a phone in a group.
func keysOf(t *testing.T, p *phone, g *groupState) map[string][]byte {
	t.Helper()
	b, err := p.db.Space(store.Space(g.engine.ID())).Get(engine.Table(1), []byte("self"))
	if err != nil || b == nil {
		t.Fatal("no keys are stored: ", err)
	}
	var self struct {
		_                      struct{} `cbor:",toarray"`
		Member, Device, Rescue [32]byte
		Name                   string
	}
	if err := wire.Unmarshal(b, 1024, &self); err != nil {
		t.Fatal(err)
	}
	m, d := identity.MemberKeyFromSeed(self.Member).Public(), identity.DeviceKeyFromSeed(self.Device).Public()
	mid, did := m.ID(), d.ID()
	return map[string][]byte{"member": m[:], "device": d[:], "member id": mid[:], "device id": did[:]}
}
