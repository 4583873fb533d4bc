// Package group is the authority of a group: signed operations go in, the roster
// comes out. Who is a member, who organises, who may post, which devices are
// boxed and which removals an epoch must cover are a pure function of the set of
// operations.
//
// Start with NewGenesis (or ParseGenesis) and NewLog; give every op frame to
// Log.Add; read Log.Roster, or Log.At for what a message or an epoch had seen;
// sign with Log.NewOp. NewKeyRing keeps the keys to which boxes are sealed.
//
// What is promised: the order of arrival, duplicates and clocks decide nothing;
// a bad frame is one error and changes nothing; nothing panics on input; an
// operation of a kind that this version does not know stays a node of the graph
// and has no effect. Spec 40 has the byte tables and the rules.
//
// BUG: nothing limits how many
// operations a certified device signs; each costs memory on every device, under
// its author's name, and keeps doing so after its removal. BUG: a second key
// update for a counter more than 64 behind is refused as old and flags nobody.
package group
