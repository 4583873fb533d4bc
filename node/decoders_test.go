package node_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// decoders names, for every function that decodes bytes, the fuzz target that
// checks "what parses re-encodes to the same bytes"; or, after "row:", why the
// bytes are only ever this device's own rows, which the store authenticates.
var decoders = map[string]string{
	"identity.ParseCert":                   "identity.FuzzCert",
	"identity.parseKeyFile":                "identity.FuzzKeyFile",
	"protocol.ParseFrame":                  "protocol.FuzzFrame",
	"protocol.ParseEnvelope":               "protocol.FuzzEnvelope",
	"protocol.ParseContent":                "protocol.FuzzContent",
	"protocol.ParseOriginal":               "protocol.FuzzContent",
	"protocol.ParseLink":                   "protocol.FuzzLink",
	"protocol/wire.decode":                 "protocol/wire.FuzzUnmarshal",
	"protocol/recon.parse":                 "protocol/recon.FuzzMessage",
	"protocol/epoch.ParseHeader":           "protocol/epoch.FuzzHeader",
	"protocol/epoch.Header.readPages":      "protocol/epoch.FuzzHeader",
	"protocol/epoch.parsePage":             "protocol/epoch.FuzzPage",
	"protocol/epoch.parseMessage":          "protocol/epoch.FuzzMessage",
	"protocol/epoch.Keys.Open":             "protocol/epoch.FuzzMessage",
	"protocol/epoch.ParseCard":             "protocol/epoch.FuzzCard",
	"protocol/epoch.parseRequest":          "protocol/epoch.FuzzRequest",
	"protocol/epoch.OpenRequest":           "protocol/epoch.FuzzRequest",
	"protocol/epoch.parseWelcome":          "protocol/epoch.FuzzWelcome",
	"protocol/epoch.parcel.parse":          "protocol/epoch.FuzzWelcome",
	"protocol/epoch.parcel.parseChunk":     "protocol/epoch.FuzzWelcome",
	"protocol/epoch.parseReBox":            "protocol/epoch.FuzzReBox",
	"protocol/epoch.parseInbox":            "protocol/epoch.FuzzInbox",
	"protocol/epoch.parseInboxFrame":       "protocol/epoch.FuzzInbox",
	"protocol/epoch.ParseKeys":             "protocol/epoch.FuzzKeys",
	"protocol/epoch.Keys.parseChain":       "protocol/epoch.FuzzKeys",
	"protocol/epoch.ParseExport":           "protocol/epoch.FuzzKeys",
	"protocol/epoch.frameLength":           "protocol/epoch.FuzzEnvelope",
	"protocol/group.ParseGenesis":          "protocol/group.FuzzGenesis",
	"protocol/group.ParsePolicy":           "protocol/group.FuzzPolicy",
	"protocol/group.parseOp":               "protocol/group.FuzzOp",
	"protocol/group.decode":                "protocol/group.FuzzOp",
	"protocol/group.ParseKeyPackage":       "protocol/group.FuzzKeyPackage",
	"protocol/group.ParseKeyUpdate":        "protocol/group.FuzzKeyUpdate",
	"protocol/group.ParseAck":              "protocol/group.FuzzAck",
	"protocol/feed.open":                   "protocol/feed.FuzzAnnouncement",
	"protocol/feed.take":                   "protocol/feed.FuzzAnnouncement",
	"protocol/feed.DecodeNotice":           "protocol/feed.FuzzMeeting",
	"protocol/feed.DecodeEdit":             "protocol/feed.FuzzEdit",
	"protocol/feed.DecodeCancel":           "protocol/feed.FuzzCancel",
	"protocol/ferry.ParseDeposit":          "protocol/ferry.FuzzDeposit",
	"protocol/ferry.ParseHello":            "protocol/ferry.FuzzBodies",
	"protocol/ferry.ParseKept":             "protocol/ferry.FuzzBodies",
	"protocol/ferry.ParseOpened":           "protocol/ferry.FuzzBodies",
	"protocol/ferry.parseTicket":           "protocol/ferry.FuzzBodies",
	"protocol/ferry.parseOpen":             "protocol/ferry.FuzzBodies",
	"protocol/engine.parsePresence":        "protocol/engine.FuzzPresence",
	"protocol/engine.parseRecon":           "protocol/engine.FuzzRecon",
	"protocol/engine.parseCheck":           "protocol/engine.FuzzCheck",
	"protocol/engine.parseHeads":           "protocol/engine.FuzzHeads",
	"protocol/engine.parseNames":           "protocol/engine.FuzzNames",
	"protocol/engine.parsePages":           "protocol/engine.FuzzPages",
	"protocol/engine.parseKeysWanted":      "protocol/engine.FuzzKeysWanted",
	"protocol/engine.parseKeysGiven":       "protocol/engine.FuzzKeysGiven",
	"protocol/engine.Engine.onIDs":         "protocol/engine.FuzzPeerMessage",
	"protocol/engine.Engine.onNone":        "protocol/engine.FuzzPeerMessage",
	"protocol/engine.Engine.onFetch":       "protocol/engine.FuzzPeerMessage",
	"protocol/engine.Engine.onEnd":         "protocol/engine.FuzzPeerMessage",
	"protocol/engine.Engine.applyBatch":    "protocol/engine.FuzzPeerMessage",
	"protocol/engine.Engine.onClock":       "protocol/engine.FuzzPeerMessage",
	"protocol/engine.Engine.loadClock":     "row: the last day that was in order",
	"protocol/engine.parseLink":            "row: a link of a chain of messages",
	"protocol/engine.Engine.loadTwice":     "row: a device that said two things",
	"protocol/engine.invite.link":          "row: an own invite",
	"protocol/engine.Engine.loadAddresses": "row: own addresses",
	"protocol/engine.Engine.loadDraft":     "row: an own draft",
	"protocol/engine.Engine.loadEpoch":     "row: the header inside is parsed as one from the network",
	"protocol/engine.Engine.loadInvite":    "row: an own invite",
	"protocol/engine.Engine.loadJoin":      "row: an own request to join",
	"protocol/engine.Engine.loadKEM":       "row: own keys",
	"protocol/engine.Engine.loadRequest":   "row: a request that was checked when it came",
	"protocol/engine.Engine.loadSeed":      "row: rescue seeds, each checked when it came",
	"protocol/engine.Engine.loadKnock":     "row: since when this device is out",
	"protocol/engine.Engine.loadSelf":      "row: own keys",
	"protocol/engine.Engine.load":          "row: where the own chains stand",
	"node.Node.load":                       "row: the profile's own records",
	"node.data.load":                       "row: the cap of the own data",
	"node.parseUse":                        "node.FuzzUse",
}

// handMade are decoders that do not go through package wire.
var handMade = map[string]string{
	"node/lan.parse":             "node/lan.FuzzPacket",
	"node/p2p.ReadFrame":         "node/p2p.FuzzFrame",
	"node/p2p.decodeHint":        "node/p2p.FuzzHint",
	"node/api.DecodeArgs":        "node/api.FuzzArgs",
	"node/store.mark.read":       "node/store.FuzzMark",
	"protocol/engine.parseEntry": "row: the key of an own row",

	"protocol/ferry.ParsePrefixes":     "protocol/ferry.FuzzBodies",
	"protocol/ferry.BundleReader.Next": "protocol/ferry.FuzzBundle",
}

// TestEveryDecoderHasItsFuzzTarget holds the list above against the code.
func TestEveryDecoderHasItsFuzzTarget(t *testing.T) {
	calls, targets, declared := scanDecoders(t)
	for _, f := range calls {
		if decoders[f] == "" {
			t.Errorf("%s decodes bytes and is not in the list of decoders", f)
		}
	}
	for f, target := range decoders {
		if !slices.Contains(calls, f) && !declared[f] {
			t.Errorf("%s is in the list of decoders and not in the code", f)
		}
		checkTarget(t, f, target, targets)
	}
	for f, target := range handMade {
		if !declared[f] {
			t.Errorf("%s is in the list of decoders and not in the code", f)
		}
		checkTarget(t, f, target, targets)
	}
}

func checkTarget(t *testing.T, f, target string, targets map[string]bool) {
	t.Helper()
	if why, row := strings.CutPrefix(target, "row:"); row {
		if strings.TrimSpace(why) == "" {
			t.Errorf("%s needs a reason", f)
		}
	} else if !targets[target] {
		t.Errorf("%s names the fuzz target %s, which does not exist", f, target)
	}
}

// scanDecoders returns the functions that call wire.Unmarshal or
// wire.UnmarshalPadded, the fuzz targets, and all functions that are declared.
func scanDecoders(t *testing.T) (calls []string, targets, declared map[string]bool) {
	t.Helper()
	targets, declared = map[string]bool{}, map[string]bool{}
	root := ".."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		rel, _ := filepath.Rel(root, filepath.Dir(path))
		pkg := filepath.ToSlash(rel)
		if strings.HasSuffix(pkg, "enginetest") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			name := pkg + "." + receiver(f) + f.Name.Name
			if strings.HasSuffix(path, "_test.go") {
				targets[name] = strings.HasPrefix(f.Name.Name, "Fuzz")
				continue
			}
			declared[name] = true
			if decodes(f) {
				calls = append(calls, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(calls) < 20 || len(targets) < 20 {
		t.Fatalf("only %d decoders and %d test functions were found: the scan is broken", len(calls), len(targets))
	}
	slices.Sort(calls)
	return slices.Compact(calls), targets, declared
}

func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	typ := f.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if id, ok := typ.(*ast.Ident); ok {
		return id.Name + "."
	}
	return ""
}

func decodes(f *ast.FuncDecl) bool {
	found := false
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "wire" && strings.HasPrefix(s.Sel.Name, "Unmarshal") {
				found = true
			}
		}
		return true
	})
	return found
}
