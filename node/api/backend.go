package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Backend carries out commands. A node is one, and a Client is one that hands
// them to a running node.
type Backend interface {
	// Do carries out a command with its arguments as one JSON object, and
	// returns its result, which is encoded as JSON. What is wrong with the
	// request is told as an *Error. Do returns early when ctx ends; what was
	// saved by then stays saved. It keeps nothing of args.
	Do(ctx context.Context, command string, args json.RawMessage) (any, error)

	// Watch calls f for each event until ctx ends or f fails, and returns the
	// error of f, or nil when ctx ended. The first event is EventWatching: all
	// that happens after it is told. Calls of f do not overlap.
	Watch(ctx context.Context, f func(Event) error) error
}

// Call runs a command on a backend and returns its result as R. Nil args stand
// for an empty object.
func Call[R any](ctx context.Context, b Backend, command string, args any) (R, error) {
	var result R
	raw := json.RawMessage("{}")
	if args != nil {
		var err error
		if raw, err = encode(args); err != nil {
			return result, fmt.Errorf("encode the arguments of %s: %w", command, err)
		}
	}
	answer, err := b.Do(ctx, command, raw)
	if err != nil {
		return result, err
	}
	if r, ok := answer.(R); ok {
		return r, nil
	}
	doc, ok := answer.(json.RawMessage)
	if !ok {
		if doc, err = encode(answer); err != nil {
			return result, fmt.Errorf("encode the answer to %s: %w", command, err)
		}
	}
	if err := json.Unmarshal(doc, &result); err != nil {
		return result, fmt.Errorf("read the answer to %s: %w", command, err)
	}
	return result, nil
}

// DecodeArgs reads arguments into args, a pointer to one of the Args types.
// Unknown fields, trailing data and anything but one object are refused with
// CodeBadRequest. Empty input is an empty object.
func DecodeArgs(raw json.RawMessage, args any) error {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		raw = []byte("{}")
	}
	if raw[0] != '{' {
		return &Error{Code: CodeBadRequest, Text: "the arguments are not one JSON object"}
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(args); err != nil {
		return &Error{Code: CodeBadRequest, Text: "the arguments cannot be read: " + reason(err)}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return &Error{Code: CodeBadRequest, Text: "there is more after the arguments"}
	}
	return nil
}

// reason words a decoding error without the values that were given: they may be
// a link or a text.
func reason(err error) string {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Sprintf("%q is not a %s", kind.Field, kind.Type)
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "not whole JSON"
	}
	return "a field is not known here"
}

// encode writes v as JSON without the escapes that pages of HTML need.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
