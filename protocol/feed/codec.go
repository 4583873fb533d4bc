package feed

import (
	"errors"
	"fmt"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// fields is a payload being written or read. After the known keys have been
// taken, it holds those that this version does not know.
type fields wire.Map

// open decodes a payload of at most max bytes. It does not alias b.
func open(b []byte, max int) (fields, error) {
	var m wire.Map
	if err := wire.Unmarshal(b, max, &m); err != nil {
		return nil, errors.Join(ErrPayload, err)
	}
	return fields(m), nil
}

// take moves the value of a key into v; an absent key leaves v alone unless the
// key is required.
func take[T any](f fields, key uint64, required bool, v *T) error {
	raw, ok := f[key]
	if !ok {
		if required {
			return fmt.Errorf("%w: key %d is missing", ErrPayload, key)
		}
		return nil
	}
	delete(f, key)
	if err := wire.Unmarshal(raw, len(raw), v); err != nil {
		return fmt.Errorf("%w: key %d has the wrong form", ErrPayload, key)
	}
	return nil
}

// some is take for an optional text: present and empty is malformed, so that
// there is one encoding.
func some(f fields, key uint64, v *string) error {
	_, present := f[key]
	if err := take(f, key, false, v); err != nil {
		return err
	}
	if present && *v == "" {
		return fmt.Errorf("%w: key %d is present and empty", ErrPayload, key)
	}
	return nil
}

// rest closes reading: what remains are unknown keys.
func (f fields) rest() (fields, error) {
	if len(f) > MaxUnknownKeys {
		return nil, fmt.Errorf("%w: more than %d unknown keys", ErrPayload, MaxUnknownKeys)
	}
	if len(f) == 0 {
		return nil, nil
	}
	return f, nil
}

// with starts writing: a copy of the unknown keys.
func (f fields) with() fields {
	out := make(fields, len(f)+8)
	for k, v := range f {
		out[k] = v
	}
	return out
}

func (f fields) put(key uint64, v any) { f[key] = wire.Marshal(v) }

func (f fields) putSome(key uint64, s string) {
	if s != "" {
		f.put(key, s)
	}
}

func (f fields) bytes(max int) ([]byte, error) {
	b := wire.Marshal(wire.Map(f))
	if len(b) > max {
		return nil, tooMuch(PayloadLong, max)
	}
	return b, nil
}

type wireText struct {
	_                struct{} `cbor:",toarray"`
	Tag, Title, Body string
}

// Encode checks the notice and returns its payload. The error wraps a *Problem.
func (n Notice) Encode() ([]byte, error) {
	if err := n.Check(); err != nil {
		return nil, err
	}
	f := n.extra.with()
	texts := make([]wireText, len(n.Texts))
	for i, t := range n.Texts {
		texts[i] = wireText{Tag: t.Tag, Title: t.Title, Body: t.Body}
	}
	f.put(1, texts)
	f.put(2, n.Urgency)
	if m := n.Meeting; m != nil {
		f.put(3, m.Start)
		if m.End != 0 {
			f.put(4, m.End)
		}
		f.put(5, m.Zone)
		f.putSome(6, m.Place)
		f.putSome(7, m.Link)
	}
	return f.bytes(MaxPayload)
}

// DecodeNotice decodes and checks the payload of a notice of type t. The error
// wraps ErrPayload.
func DecodeNotice(t protocol.ContentType, payload []byte) (Notice, error) {
	f, err := open(payload, MaxPayload)
	if err != nil {
		return Notice{}, err
	}
	n := Notice{Type: t}
	var texts []wireText
	err = errors.Join(take(f, 1, true, &texts), take(f, 2, true, &n.Urgency))
	if t == protocol.TypeMeeting {
		m := new(Meeting)
		n.Meeting = m
		_, open := f[4]
		err = errors.Join(err, take(f, 3, true, &m.Start), take(f, 4, false, &m.End), take(f, 5, true, &m.Zone),
			some(f, 6, &m.Place), some(f, 7, &m.Link))
		if open && m.End == 0 {
			err = errors.Join(err, ErrPayload)
		}
	}
	if err != nil {
		return Notice{}, err
	}
	if len(texts) > MaxTexts {
		return Notice{}, errors.Join(ErrPayload, tooMuch(TextsTooMany, MaxTexts))
	}
	for _, x := range texts {
		n.Texts = append(n.Texts, Text{Tag: x.Tag, Title: x.Title, Body: x.Body})
	}
	if n.extra, err = f.rest(); err != nil {
		return Notice{}, err
	}
	if err := n.Check(); err != nil {
		return Notice{}, errors.Join(ErrPayload, err)
	}
	return n, nil
}
