package node

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/store"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/feed"
	"github.com/palabre-app/palabre/protocol/group"
)

// code makes an error that the face words.
func code(c string) error { return &api.Error{Code: c, Text: c} }

// byError is what a person is told for each error of the layers below.
var byError = []struct {
	err  error
	code string
}{
	{errNoProfile, api.CodeProfileMissing},
	{errExists, api.CodeProfileExists},
	{errStopped, api.CodeInterrupted},
	{errTwice, api.CodeAlreadyRunning},
	{context.Canceled, api.CodeInterrupted},
	{context.DeadlineExceeded, api.CodeInterrupted},
	{identity.ErrPassphrase, api.CodeWrongPassphrase},
	{identity.ErrNewPassphrase, api.CodePassphraseUnusable},
	{identity.ErrKeyFile, api.CodeDamaged},
	{store.ErrInUse, api.CodeProfileInUse},
	{store.ErrDamaged, api.CodeDamaged},
	{store.ErrFull, api.CodeDiskFull},
	{store.ErrNewer, api.CodeNewerVersion},
	{store.ErrClosed, api.CodeInterrupted},
	{syscall.ENOSPC, api.CodeDiskFull},
	{syscall.EADDRINUSE, api.CodeAddressInUse},
	{protocol.ErrLink, api.CodeLinkAltered},
	{engine.ErrLinkExpired, api.CodeLinkExpired},
	{engine.ErrNotOrganiser, api.CodeNotOrganiser},
	{engine.ErrUnknown, api.CodeUnknownID},
	{engine.ErrAmbiguous, api.CodeAmbiguousID},
	{engine.ErrPrefix, api.CodeBadID},
	{engine.ErrOutOfBounds, api.CodeInviteBounds},
	{engine.ErrTooMany, api.CodeTooMany},
	{engine.ErrNotJoined, api.CodeNotJoined},
	{engine.ErrNotMember, api.CodeRemoved},
	{engine.ErrGroupFull, api.CodeGroupFull},
	{engine.ErrNoAddresses, api.CodeNoAddress},
	{engine.ErrMayNotPost, api.CodeMayNotPost},
	{engine.ErrNoOverride, api.CodeAlertsWait},
	{engine.ErrNotAlert, api.CodeNotAnAlert},
	{engine.ErrReaders, api.CodeMoreReaders},
	{engine.ErrNoKeys, api.CodeNoKeysYet},
	{engine.ErrAlarmed, api.CodeAlarm},
	{engine.ErrOrganiser, api.CodeCannotRemoveOrganiser},
	{engine.ErrAlready, api.CodeAlreadySo},
	{engine.ErrDecided, api.CodeNotOpen},
	{engine.ErrImpossible, api.CodeImpossibleDecision},
	{engine.ErrSuspended, api.CodeAlreadySuspended},
	{engine.ErrOneSuspend, api.CodeOneSuspension},
	{engine.ErrGivenBack, api.CodeGivenBack},
	{engine.ErrNotSuspended, api.CodeNotSuspended},
	{engine.ErrNoOrganiser, api.CodeNotAnOrganiser},
	{engine.ErrSelf, api.CodeNotYourself},
	{engine.ErrStopped, api.CodeSuspended},
	{engine.ErrNoVoice, api.CodeNoVoice},
	{engine.ErrLeave, api.CodeOrganiserLeaves},
	{engine.ErrCopied, api.CodeChainCopied},
	{engine.ErrPaper, api.CodeRecoveryWords},
	{engine.ErrPaperMayNot, api.CodeNoRecovery},
	{identity.ErrRecoveryWords, api.CodeRecoveryWords},
	{group.ErrPolicy, api.CodePolicyBounds},
	{group.ErrGroupFull, api.CodeGroupFull},
	{epoch.ErrTooLarge, api.CodeTextTooLong},
	{feed.ErrNotFound, api.CodeUnknownID},
	{feed.ErrAmbiguous, api.CodeAmbiguousID},
	{feed.ErrPrefix, api.CodeBadID},
	{epoch.ErrExhausted, api.CodeTooMany},
	{errGroupRows, api.CodeDamaged},
	{fs.ErrPermission, api.CodeFileUnreadable},
	{errFatal, api.CodeDiskFailed},
}

// byDraft is what a person is told for each problem of a draft.
var byDraft = map[feed.Code]string{
	feed.TextsMissing: api.CodeTitleMissing, feed.TextsTooMany: api.CodeTextsTooMany, feed.TagBad: api.CodeBadLanguage,
	feed.TagRepeated: api.CodeLanguageRepeated, feed.TitleEmpty: api.CodeTitleMissing, feed.TitleLong: api.CodeTitleTooLong,
	feed.BodyLong: api.CodeTextTooLong, feed.TextControl: api.CodeTextUnsafe, feed.TextBidi: api.CodeTextUnsafe,
	feed.TextEncoding: api.CodeTextUnsafe, feed.UrgencyBad: api.CodeUnknownUrgency, feed.StartBad: api.CodeBadTime,
	feed.EndBeforeStart: api.CodeMeetingEndsBeforeStart, feed.EndBad: api.CodeBadTime, feed.ZoneBad: api.CodeUnknownZone,
	feed.ZoneUnknown: api.CodeUnknownZone, feed.PlaceLong: api.CodePlaceTooLong, feed.LinkBad: api.CodeBadOnlineLink,
	feed.ReasonLong: api.CodeReasonTooLong, feed.PayloadLong: api.CodeTextTooLong, feed.ExpiryPast: api.CodeExpiryPast,
	feed.ExpiryFar: api.CodeExpiryTooFar, feed.ExpiryMeeting: api.CodeExpiryBeforeMeeting, feed.KindBad: api.CodeNotAMeeting,
	feed.NoticeCancelled: api.CodeNoticeCancelled, feed.NoticeUnknown: api.CodeNeedsNewer,
	feed.NameEmpty: api.CodeNameEmpty, feed.NameLong: api.CodeNameTooLong,
}

// isRefusal says whether an error of a command is one that people are told of by
// name. The engine gives those before it changes anything; after any other one
// nobody knows what it has changed.
func isRefusal(err error) bool {
	c := api.CodeOf(problem(err))
	return c != api.CodeInternal && c != api.CodeDiskFailed && c != api.CodeDamaged
}

// problem makes of an error what a face can word: an *api.Error, whose text is
// for developers and holds nothing secret.
func problem(err error) error {
	var known *api.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	if c := feed.CodeOf(err); c != "" {
		word, ok := byDraft[c]
		if !ok {
			word = api.CodeNameUnsafe
		}
		return &api.Error{Code: word, Text: string(c)}
	}
	for _, k := range byError {
		if errors.Is(err, k.err) {
			return &api.Error{Code: k.code, Text: k.err.Error()}
		}
	}
	return &api.Error{Code: api.CodeInternal, Text: "an internal fault"}
}
