package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// wifi is a network of its own: a bridge, and a namespace for each phone on it.
// Nothing leads out of it.
type wifi struct {
	t   *testing.T
	hub string
}

func ipTool(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// newWifi makes a network without phones. It needs root and the command ip; where CI is
// set, that they are missing is a failure.
func newWifi(t *testing.T) *wifi {
	t.Helper()
	_, err := exec.LookPath("ip")
	if os.Getenv("CI") == "" && (os.Geteuid() != 0 || err != nil) {
		t.Skip("networks cannot be made: run as root, with iproute2")
	}
	w := &wifi{t, fmt.Sprintf("pal%d", os.Getpid())}
	w.space(w.hub)
	ipTool(t, "-n", w.hub, "link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
	ipTool(t, "-n", w.hub, "link", "set", "br0", "up")
	return w
}

func (w *wifi) space(name string) {
	w.t.Helper()
	ipTool(w.t, "netns", "add", name)
	w.t.Cleanup(func() { exec.Command("ip", "netns", "del", name).Run() })
	ipTool(w.t, "-n", name, "link", "set", "lo", "up")
}

// phone is somebody whose processes have this network alone.
func (w *wifi) phone(dir, name string) *person {
	w.t.Helper()
	p := stranger(w.t, dir, name)
	space := w.hub + name
	w.space(space)
	ipTool(w.t, "link", "add", "wlan0", "netns", space, "type", "veth", "peer", "name", name, "netns", w.hub)
	ipTool(w.t, "-n", w.hub, "link", "set", name, "master", "br0", "up")
	ipTool(w.t, "-n", space, "link", "set", "wlan0", "up")
	inside := filepath.Join(dir, name+".sh")
	must(w.t, os.WriteFile(inside, fmt.Appendf(nil, "#!/bin/sh\nexec ip netns exec %s %s \"$@\"\n", space, p.exe), 0o700))
	p.exe = inside
	return p
}

// moves gives somebody an address in place of the one they had.
func (w *wifi) moves(p *person, to string) {
	w.t.Helper()
	ipTool(w.t, "-n", w.hub+p.name, "-4", "addr", "flush", "dev", "wlan0")
	ipTool(w.t, "-n", w.hub+p.name, "addr", "add", to, "dev", "wlan0")
}

// hear captures what everybody on the network is sent.
func (w *wifi) hear() *capture {
	w.t.Helper()
	type opened struct {
		c   *capture
		err error
	}
	got := make(chan opened)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		at, err := unix.Open("/run/netns/"+w.hub, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(at, unix.CLONE_NEWNET)
			unix.Close(at)
		}
		if err != nil {
			got <- opened{nil, err}
			return
		}
		c, err := openCapture("br0")
		got <- opened{c, err}
	}()
	x := <-got
	must(w.t, x.err)
	w.t.Cleanup(x.c.stop)
	return x.c
}

// beacons takes what was said on the port of multicast DNS apart: names, and ports.
func beacons(t *testing.T, heard map[flow][]byte) (names, ports map[string]bool, all []byte) {
	t.Helper()
	names, ports = map[string]bool{}, map[string]bool{}
	for f, b := range heard {
		if f.protocol != "udp" || f.to != 5353 {
			continue
		}
		all = append(all, b...)
		for len(b) > 0 { // packets, one after the other
			var p dnsmessage.Parser
			_, err := p.Start(b)
			must(t, err)
			q, err := p.AllQuestions()
			must(t, err)
			size := 12
			for range q {
				size += len("\x04_p2p\x04_udp\x05local\x00") + 4
			}
			list, err := p.AllAnswers()
			must(t, err)
			for _, r := range list {
				switch body := r.Body.(type) {
				case *dnsmessage.SRVResource:
					names[r.Header.Name.String()], ports[fmt.Sprint(body.Port)] = true, true
					if target, _, _ := strings.Cut(body.Target.String(), "."); !strings.HasPrefix(r.Header.Name.String(), target+".") {
						t.Errorf("it names a machine: %s", body.Target)
					}
				case *dnsmessage.TXTResource:
					if strings.Join(body.TXT, "") != "" {
						t.Errorf("it says %q", body.TXT)
					}
				case *dnsmessage.PTRResource:
				default:
					t.Errorf("it has a record of type %s", r.Header.Type)
				}
			}
			if len(list) > 0 {
				end := bytes.Index(b, []byte{0, 16, 0x80, 1, 0, 0, 0, 120, 0, 1, 0}) // of the TXT record
				size = end + 11
			}
			b = b[size:]
		}
	}
	return names, ports, all
}

// Two phones that have one Wi-Fi and nothing else, whose addresses are other ones than
// the group was told, find each other where both ask for it. They say nothing that
// could be known again in another network, or by which anybody could tell what they
// are. Who does not ask for it says nothing at all.
func TestPhonesOnOneWifi(t *testing.T) {
	w := newWifi(t)
	dir := place(t)
	awa, ben := w.phone(dir, "Awa"), w.phone(dir, "Ben")
	w.moves(awa, "10.77.0.1/24")
	w.moves(ben, "10.77.0.2/24")
	must(t, awa.begin())
	must(t, ben.begin())
	quiet := w.hear()
	must(t, awa.on())
	must(t, ben.on())
	newGroup(t, "all", awa, ben)
	must(t, awa.off())
	must(t, ben.off())
	if _, _, said := beacons(t, quiet.finish(t)); len(said) > 0 {
		t.Errorf("%d bytes are said without --lan", len(said))
	}

	w.moves(awa, "10.78.0.5/24")
	w.moves(ben, "10.78.0.6/24")
	first := w.hear()
	must(t, awa.onWith("--lan"))
	must(t, ben.onWith("--lan"))
	_, err := ben.reads(says(t, awa, "Un", "Premier"), 1)
	must(t, err)
	told := strings.Join(append(awa.addrs, ben.addrs...), " ")
	must(t, ben.off())
	before, portsBefore, said := beacons(t, first.finish(t))

	// Awa stays on and goes to another place, where Ben is.
	w.moves(awa, "10.79.0.5/24")
	w.moves(ben, "10.79.0.6/24")
	second := w.hear()
	must(t, ben.onWith("--lan"))
	_, err = ben.reads(says(t, awa, "Deux", "Deuxième"), 1)
	must(t, err)
	must(t, awa.off())
	must(t, ben.off())
	after, portsAfter, more := beacons(t, second.finish(t))
	if len(before) != 2 || len(after) != 2 {
		t.Errorf("names of the first place %v, of the second %v", before, after)
	}
	for name := range after {
		if before[name] {
			t.Errorf("%s is said in both places", name)
		}
	}
	for port := range portsBefore {
		if portsAfter[port] {
			t.Errorf("port %s is said in both places", port)
		}
		if strings.Contains(told, "/"+port) {
			t.Errorf("port %s is one that the group was told", port)
		}
	}
	for _, secret := range []string{"palabre", "Palabre", "Awa", "Ben", "12D3", "voisins", "10.7"} {
		if bytes.Contains(append(said, more...), []byte(secret)) {
			t.Errorf("%q is said", secret)
		}
	}
}
