package node_test

import (
	"go/ast"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Rules of spec 95 about what the program may reach, as far as the source shows
// it: rows 1, 15, 24, 52, 56 and 69.

// sockets says which packages may open connections, and by which functions of
// package net. All others have addresses as text at most.
var sockets = map[string][]string{
	"node/api":   {"ListenUnix", "Dialer"},                             // the socket of this user's profile
	"node/ferry": {"Listen"},                                           // the figures of a ferry, for the machine itself
	"node/lan":   {"ListenMulticastUDP"},                               // to neighbours, where a person asked for it
	"node/p2p":   {"Dialer", "ListenUDP"},                              // to the proxy that a person named; QUIC, which is counted there
	"node":       {"Listen", "ListenPacket", "ListenTCP", "ListenUDP"}, // whether a port is free
}

// asking are functions of package net that ask a name server.
func asking(name string) bool {
	return strings.HasPrefix(name, "Lookup") || slices.Contains([]string{"Resolver", "DefaultResolver", "ResolveIPAddr",
		"ResolveTCPAddr", "ResolveUDPAddr", "Dial", "DialTimeout", "DialTCP", "DialUDP", "DialIP"}, name)
}

// serves says whether a package answers HTTP: the control socket, the figures of a
// ferry at a loopback address, and a ferry's web road, where nothing is found.
func serves(dir string) bool { return dir == "node/api" || dir == "node/ferry" || dir == "node/p2p" }

// Nothing looks up a name, fetches a page or follows a link of a notice: only
// node/p2p connects outwards, to addresses, and node/api to its own socket. No
// package writes a log.
func TestNothingReachesOut(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range shipped(t, "..") {
		names := map[string]string{}
		for _, spec := range s.file.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			local := path.Base(imported)
			if spec.Name != nil {
				local = spec.Name.Name
			}
			names[local] = imported
			if strings.Contains(imported, "go-libp2p-kad-dht") || strings.Contains(imported, "mdns") || strings.Contains(imported, "/madns") ||
				strings.Contains(imported, "go-multiaddr-dns") || imported == "expvar" || strings.HasSuffix(imported, "net/http/pprof") {
				t.Errorf("%s imports %s", s.dir, imported)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			x, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			id, ok := x.X.(*ast.Ident)
			if !ok || id.Obj != nil {
				return true
			}
			switch at := s.dir + ": " + names[id.Name] + "." + x.Sel.Name; names[id.Name] {
			case "net":
				seen[s.dir] = true
				opens := strings.HasPrefix(x.Sel.Name, "Listen") || x.Sel.Name == "Dialer"
				if asking(x.Sel.Name) || opens && !slices.Contains(sockets[s.dir], x.Sel.Name) {
					t.Error(at)
				}
			case "net/http":
				if !serves(s.dir) || slices.Contains([]string{"Get", "Post", "PostForm", "Head", "DefaultClient", "DefaultTransport", "DefaultServeMux", "Handle", "HandleFunc", "ListenAndServe"}, x.Sel.Name) {
					t.Error(at)
				}
			case "log":
				seen["log"] = true
				if !serves(s.dir) || x.Sel.Name != "New" { // of a server whose log goes nowhere
					t.Error(at)
				}
			case "log/slog":
				if !slices.Contains([]string{"Value", "StringValue", "DiscardHandler"}, x.Sel.Name) {
					t.Error(at)
				}
			case "github.com/libp2p/go-libp2p/p2p/host/resource-manager":
				seen["limits"] = true
				if strings.HasPrefix(x.Sel.Name, "Infinite") {
					t.Error(at)
				}
			}
			return true
		})
	}
	if !seen["node/api"] || !seen["limits"] || !seen["log"] {
		t.Errorf("the rules looked at %v", seen)
	}
}

// Nothing that reads what others made can decompress it, anywhere below; and the
// network stack that is linked has no DHT and no local discovery.
func TestNothingDecompresses(t *testing.T) {
	closure := func(of ...string) []string {
		out, err := exec.Command("go", append([]string{"list", "-deps"}, of...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(out))
	}
	core := closure(module+"/identity/...", module+"/protocol/...", module+"/node/store")
	if !slices.Contains(core, "github.com/fxamacker/cbor/v2") {
		t.Fatal("these are not the packages that the core needs")
	}
	for _, p := range core {
		for _, banned := range []string{"compress/", "archive/", "klauspost/compress", "lz4", "zstd", "snappy", "brotli", "net/http", "image/"} {
			if strings.HasPrefix(p, banned) || !strings.HasSuffix(banned, "/") && strings.Contains(p, banned) {
				t.Errorf("the core needs %s", p)
			}
		}
	}
	all := closure(module+"/cmd/...", module+"/mobile/...")
	if !slices.Contains(all, "github.com/libp2p/go-libp2p-pubsub") {
		t.Fatal("these are not the packages that the program needs")
	}
	for _, p := range all {
		for _, banned := range []string{"kad-dht", "mdns", "zeroconf", "bootstrap", "webrtc", "webtransport", "net/http/pprof"} {
			if strings.Contains(p, banned) {
				t.Errorf("the program needs %s", p)
			}
		}
	}
}
