package feed

import "errors"

// GroupCard names the group (spec 50 section 1.3). Only organisers' count.
type GroupCard struct {
	Name    string // as CheckName accepts it
	Version uint64 // 1 to MaxVersion; the highest counts

	extra fields
}

// Profile names its author, by a pseudonym (spec 50 section 1.3).
type Profile struct {
	Name    string // as CheckName accepts it
	Version uint64 // 1 to MaxVersion; the highest counts

	extra fields
}

// Encode checks the card and returns its payload. The error wraps a *Problem.
func (c GroupCard) Encode() ([]byte, error) { return encodeName(c.Name, c.Version, c.extra) }

// Encode checks the profile and returns its payload. The error wraps a *Problem.
func (p Profile) Encode() ([]byte, error) { return encodeName(p.Name, p.Version, p.extra) }

// DecodeGroupCard decodes and checks a card. The error wraps ErrPayload.
func DecodeGroupCard(payload []byte) (GroupCard, error) {
	name, version, extra, err := decodeName(payload)
	return GroupCard{Name: name, Version: version, extra: extra}, err
}

// DecodeProfile decodes and checks a profile. The error wraps ErrPayload.
func DecodeProfile(payload []byte) (Profile, error) {
	name, version, extra, err := decodeName(payload)
	return Profile{Name: name, Version: version, extra: extra}, err
}

func checkNamed(name string, version uint64) error {
	if version < 1 || version > MaxVersion {
		return problem(VersionBad)
	}
	return CheckName(name)
}

func encodeName(name string, version uint64, extra fields) ([]byte, error) {
	if err := checkNamed(name, version); err != nil {
		return nil, err
	}
	f := extra.with()
	f.put(1, name)
	f.put(2, version)
	return f.bytes(maxSmall)
}

func decodeName(payload []byte) (name string, version uint64, extra fields, err error) {
	f, err := open(payload, maxSmall)
	if err != nil {
		return "", 0, nil, err
	}
	if err := errors.Join(take(f, 1, true, &name), take(f, 2, true, &version)); err != nil {
		return "", 0, nil, err
	}
	if extra, err = f.rest(); err != nil {
		return "", 0, nil, err
	}
	if err := checkNamed(name, version); err != nil {
		return "", 0, nil, errors.Join(ErrPayload, err)
	}
	return name, version, extra, nil
}
