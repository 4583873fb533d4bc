package api

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

func TestCodesAreAllListedOnce(t *testing.T) {
	listed := map[string]bool{}
	for _, c := range Codes() {
		if listed[c] {
			t.Errorf("%s is listed twice", c)
		}
		listed[c] = true
	}
	if n := constants(t, "errors.go", "Code"); len(n) != len(listed) {
		t.Errorf("%d codes are declared, %d listed", len(n), len(listed))
	}
	for name, value := range constants(t, "errors.go", "Code") {
		if !listed[value] {
			t.Errorf("%s is not listed", name)
		}
	}
}

func TestCommandsAreAllKnown(t *testing.T) {
	declared := constants(t, "commands.go", "Command")
	if len(declared) != len(arguments) {
		t.Errorf("%d commands are declared, %d have arguments", len(declared), len(arguments))
	}
	for name, value := range declared {
		if !Known(value) {
			t.Errorf("%s has no arguments", name)
		}
	}
}

// constants reads the string constants of a file whose names begin with prefix.
func constants(t *testing.T, file, prefix string) map[string]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(v.Names[0].Name, prefix) && len(v.Values) == 1 {
			if lit, ok := v.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				s, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				out[v.Names[0].Name] = s
			}
		}
		return true
	})
	if len(out) == 0 {
		t.Fatalf("no constants in %s", file)
	}
	return out
}

// The field names are what other programs read.
func TestFieldNamesAreStable(t *testing.T) {
	const nothing = `{"letters":{"in":0,"out":0},"comparing":{"in":0,"out":0},"carriers":{"in":0,"out":0},"connections":{"in":0,"out":0}}`
	meeting := &Meeting{Start: "s", End: "e", TZ: "z", Place: "p"}
	for want, v := range map[string]any{
		`{"running":false,"peers":0,"groups":[]}`:                          Status{Groups: []GroupStatus{}},
		`{"id":"","name":"","members":0,"epoch":0,"unsent":0,"missing":0}`: GroupStatus{},
		`{"group":""}`:            GroupCreated{},
		`{"link":""}`:             Invite{},
		`{"group":"","state":""}`: Joined{},
		`{"id":"","group":"","name":"","words":"","created":""}`: Request{},
		`{"id":"","name":"","role":"","words":""}`:               Member{},
		`{"id":""}`:                  Posted{},
		`{"done":true}`:              Done{true},
		`{"event":"notice"}`:         Event{Event: EventNotice},
		`{"done":true,"told":false}`: Left{Done: true},
		`{"exists":false}`:           Recovery{},
		`{"id":"i","name":"n"}`:      Person{ID: "i", Name: "n"},
		`{"id":"","name":"","role":"","words":"","suspended":true}`:                     Member{Suspended: true},
		`{"organisers":[],"open":[],"need":0,"of":0,"paper":false}`:                     Organisers{Organisers: []Organiser{}, Open: []Proposal{}},
		`{"id":"i","name":"n","self":true,"suspended_by":[],"devices":[]}`:              Organiser{Person: Person{ID: "i", Name: "n"}, Self: true, SuspendedBy: []Person{}, Devices: []string{}},
		`{"id":"","effective":false,"have":0,"need":0,"of":0}`:                          Proposed{},
		`{"id":"","effective":false,"have":0,"need":0,"of":0,"paper_may":true}`:         Proposed{PaperMay: true},
		`{"id":"","member":"","self":true,"operating":true,"removed":true,"added":"a"}`: Device{Self: true, Operating: true, Removed: true, Added: "a"},
		`{"id":"","member":""}`: Device{},
		`{"posting":"","period_days":0,"keep_days":0,"history":"","high_risk":false,"alerts_while_renewing":false,"carriers":[]}`: Policy{Carriers: []string{}},
		`{"running":true,"peers":0,"groups":[],"saver":true,"data":{"today":` + nothing + `,"month":` + nothing + `,"cap_bytes":5,"low":true,"reached":true,"until":"u"}}`: Status{Running: true,
			Groups: []GroupStatus{}, Saver: true, Data: &Data{CapBytes: 5, Low: true, Reached: true, Until: "u"}},
		`{"letters":{"in":1,"out":2},"comparing":{"in":3,"out":4},"carriers":{"in":5,"out":6},"connections":{"in":7,"out":8}}`: DataUse{DataVolume{1, 2}, DataVolume{3, 4}, DataVolume{5, 6}, DataVolume{7, 8}},
		`{"cap_bytes":0}`: DataSetArgs{},
		`{"address":"a"}`: CarrierStatus{Address: "a"},
		`{"address":"a","answered":"t","unreached":true,"faults":2}`: CarrierStatus{"a", "t", true, 2},
		`{"group":"g","member":"m"}`:                                 MemberArgs{"g", "m"},
		`{"group":"g","member":"m","undo":["u"]}`:                    ExpelArgs{"g", "m", []string{"u"}},
		`{"group":"g","proposal":"p"}`:                               VoteArgs{"g", "p"},
		`{"group":"g","proposal":"p","words":"w"}`:                   RecoveryUseArgs{"g", "p", "w"},
		`{"group":"g","key":"k"}`:                                    RecoverySetArgs{"g", "k"},
		`{"group":"g","device":"d"}`:                                 DeviceArgs{"g", "d"},
		`{"group":"g","member":"m","devices":["d"]}`:                 DevicesSetArgs{"g", "m", []string{"d"}},
		`{"group":"g","limit":3}`:                                    ChangesArgs{"g", 3},
		`{"id":"i","decision":"expel","by":{"id":"","name":""},"target":{"id":"t","name":""},"undo":1,"voters":[],"voted":false,"have":1,"need":2,"of":3,"created":""}`:                                                                      Proposal{ID: "i", Decision: DecisionExpel, Target: &Person{ID: "t"}, Undo: 1, Voters: []Person{}, Have: 1, Need: 2, Of: 3},
		`{"id":"i","what":"suspended","by":{"id":"b","name":""},"target":{"id":"t","name":""},"at":"","effective":true}`:                                                                                                                     Change{ID: "i", What: ChangeSuspended, By: Person{ID: "b"}, Target: &Person{ID: "t"}, Effective: true},
		`{"id":"","name":"","members":0,"epoch":0,"unsent":0,"missing":0,"removed":true,"suspended":[{"id":"","name":""}],"waiting":true,"because":{"id":"","what":"left","by":{"id":"","name":""},"at":"","effective":false},"alarm":true}`: GroupStatus{Removed: true, Suspended: []Person{{}}, Waiting: true, Because: &Change{What: ChangeLeft}, Alarm: true},
		`{"event":"authority","id":"i","change":{"id":"i","what":"proposed","decision":"policy","by":{"id":"","name":""},"at":"","effective":false,"open":true},"stands":{"id":"i","effective":false,"have":1,"need":2,"of":3}}`:             Event{Event: EventAuthority, ID: "i", Change: &Change{ID: "i", What: ChangeProposed, Decision: DecisionPolicy, Open: true}, Stands: &Proposed{ID: "i", Have: 1, Need: 2, Of: 3}},
		`{"error":"","hint":"","code":""}`:             Error{},
		`{"start":"s","end":"e","tz":"z","place":"p"}`: meeting,
		`{"addr":""}`: ConnectArgs{},
		`{"link":"l","name":"n","wait_seconds":60}`:                      JoinArgs{"l", "n", 60},
		`{"group":"g","uses":2,"expires_seconds":3,"auto_approve":true}`: InviteArgs{"g", 2, 3, true},
		`{"group":"g","all":true,"langs":["fr"]}`:                        NoticesArgs{"g", true, []string{"fr"}},
		`{"group":"g","id":"i","reason":"r"}`:                            CancelArgs{"g", "i", "r"},
		`{"group":"g","kind":"meeting","texts":[{"lang":"fr","title":"t","body":"b"}],"urgency":"alert","expires_seconds":1,"meeting":{"start":"s","end":"e","tz":"z","place":"p"}}`: PostArgs{"g", KindMeeting, []Text{{"fr", "t", "b"}}, UrgencyAlert, 1, meeting, nil},
		`{"kind":"announcement","texts":null,"send_now":0}`:                                                      PostArgs{Kind: KindAnnouncement, SendNow: new(int)},
		`{"group":"g","id":"i","readers":2}`:                                                                     SendNowArgs{"g", "i", 2},
		`{"group":"g","id":"i","off":true}`:                                                                      PinArgs{"g", "i", true},
		`{"held":[],"may_send_now":false,"readers":[]}`:                                                          Held{Held: []HeldNotice{}, Readers: []Person{}},
		`{"id":"i","kind":"other","created":"c","expires":"e"}`:                                                  HeldNotice{ID: "i", Kind: KindOther, Created: "c", Expires: "e"},
		`{"id":"","waiting":true,"expires":"e","held":"h","may_send_now":true,"readers":[{"id":"i","name":""}]}`: Posted{Waiting: true, Expires: "e", Held: "h", MaySendNow: true, Readers: []Person{{ID: "i"}}},
		`{"event":"members","told":true}`:                                                                        Event{Event: EventMembers, Told: true},
		`{"id":"","kind":"","title":"","body":"","lang":"","langs":[],"author":"","author_name":"","urgency":"","status":"","version":0,"created":"","expires":"","meeting":{"start":"s","end":"e","tz":"z","place":"p"}}`: Notice{Langs: []string{}, Meeting: meeting},
	} {
		got, err := encode(v)
		if err != nil || string(got) != want {
			t.Errorf("%T is\n%s, not\n%s (%v)", v, got, want, err)
		}
	}
}

func TestDecodeArgsNamesNoValue(t *testing.T) {
	for _, body := range []string{`{"link":17,"x":"canary"}`, `{"link":"canary"`, `{"canary":1}`, `{"link":"a"}canary`, `canary`, `{"link":["canary"]}`} {
		err := DecodeArgs(json.RawMessage(body), new(JoinArgs))
		if CodeOf(err) != CodeBadRequest || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", body, err)
		}
	}
	var e *Error
	if err := DecodeArgs(json.RawMessage(`{"wait_seconds":1.5}`), new(JoinArgs)); !errors.As(err, &e) || !strings.Contains(e.Text, "wait_seconds") {
		t.Errorf("the field is not named: %v", err)
	}
}

// JSON has many forms of one value, so the property is on values: what parses
// encodes to what parses to the same.
func FuzzArgs(f *testing.F) {
	for command := range arguments {
		f.Add(command, `{}`)
	}
	f.Add(CommandPost, `{"group":"abcdef","kind":"meeting","texts":[{"lang":"fr","title":"t","body":"b"}],"meeting":{"start":"s","end":"e","tz":"z","place":"p","link":"l"}}`)
	f.Add(CommandEdit, `{"id":"abcdef","title":"","urgency":"alert","expires_seconds":0,"meeting":{"place":""}}`)
	f.Fuzz(func(t *testing.T, command, body string) {
		fresh := arguments[command]
		if fresh == nil {
			if CheckArgs(command, json.RawMessage(body)) == nil {
				t.Fatal("an unknown command passed")
			}
			return
		}
		one, two := fresh(), fresh()
		if DecodeArgs(json.RawMessage(body), one) != nil {
			return
		}
		again, err := encode(one)
		if err != nil {
			t.Fatal(err)
		}
		if err := DecodeArgs(again, two); err != nil {
			t.Fatal(err)
		}
		third, err := encode(two)
		if err != nil || string(third) != string(again) {
			t.Fatalf("%s became %s (%v)", again, third, err)
		}
	})
}
