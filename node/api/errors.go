package api

import "errors"

// Error is what went wrong, for a program (Code), and for a person: what it is
// (Text) and what to type or do about it (Hint, may be empty). It holds no
// secret and no text of a notice.
type Error struct {
	Text string `json:"error"`
	Hint string `json:"hint"`
	Code string `json:"code"`
}

// Error returns the sentence for a person.
func (e *Error) Error() string { return e.Text }

// Is says that two errors with one code are the same error.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// ErrNotRunning says that no palabre runs on the profile. A socket file that
// nobody answers on is one that a crash left behind.
var ErrNotRunning error = &Error{Code: CodeNotRunning, Text: "palabre is not running", Hint: "palabre run"}

// CodeOf returns the code of the *Error in err, or "" if there is none.
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// Codes of errors. They never change their meaning; new ones may come.
const (
	CodeUsage          = "usage"           // the command line cannot be read
	CodeBadRequest     = "bad_request"     // the arguments cannot be read
	CodeUnknownCommand = "unknown_command" // no command has this name
	CodeTooLarge       = "too_large"       // a request over MaxRequest
	CodeBusy           = "busy"            // too many requests at once
	CodeInternal       = "internal"        // a fault of palabre
	CodeInterrupted    = "interrupted"     // ended before it was done

	CodeNotRunning     = "not_running"
	CodeAlreadyRunning = "already_running"
	CodeNotAnswering   = "not_answering" // it runs, and does not answer

	CodeProfileMissing       = "profile_missing"
	CodeProfileExists        = "profile_exists"
	CodeProfileInUse         = "profile_in_use"
	CodeWrongPassphrase      = "wrong_passphrase"
	CodePassphraseNeeded     = "passphrase_needed"
	CodePassphraseUnreadable = "passphrase_unreadable" // of the file
	CodePassphraseUnusable   = "passphrase_unusable"   // empty, too short or too long
	CodePassphraseMismatch   = "passphrase_mismatch"
	CodeDamaged              = "damaged"
	CodeNewerVersion         = "newer_version"
	CodeDiskFull             = "disk_full"
	CodeDiskFailed           = "disk_failed"
	CodeFileUnreadable       = "file_unreadable"
	CodeFileExists           = "file_exists"
	CodeNotABundle           = "not_a_bundle"

	CodeCarrierMissing     = "carrier_missing" // no ferry was started in the folder
	CodeCarrierInUse       = "carrier_in_use"
	CodeCarrierDamaged     = "carrier_damaged"     // or its folder is that of something else
	CodeCarrierDisk        = "carrier_disk"        // full or failed
	CodeCarrierAddress     = "carrier_address"     // to listen at
	CodeCarrierCertificate = "carrier_certificate" // of the web road
	CodeUnknownTicket      = "unknown_ticket"

	CodeNoGroup      = "no_group"    // the profile has none
	CodeWhichGroup   = "which_group" // it has several
	CodeUnknownGroup = "unknown_group"
	CodeNotJoined    = "not_joined" // an organiser has not let us in yet
	CodeRemoved      = "removed"    // this person is no longer in the group
	CodeUnknownID    = "unknown_id"
	CodeAmbiguousID  = "ambiguous_id"
	CodeBadID        = "bad_id" // fewer than 6 digits, or no hex

	CodeLinkAltered    = "link_altered"
	CodeLinkExpired    = "link_expired"
	CodeLinkUsedUp     = "link_used_up"
	CodeAlreadyInGroup = "already_in_group"
	CodeInviteBounds   = "invite_bounds" // uses or time out of bounds
	CodeNoAddress      = "no_address"    // none to put into an invite
	CodeGroupFull      = "group_full"
	CodeTooMany        = "too_many" // open invites or requests
	CodeInvalidAddress = "invalid_address"
	CodeAddressInUse   = "address_in_use"

	CodeNameEmpty   = "name_empty"
	CodeNameTooLong = "name_too_long"
	CodeNameUnsafe  = "name_unsafe"

	CodeTitleMissing     = "title_missing"
	CodeTitleTooLong     = "title_too_long"
	CodeTextTooLong      = "text_too_long"
	CodeTextUnsafe       = "text_unsafe"
	CodeTextsTooMany     = "texts_too_many"
	CodeBadLanguage      = "bad_language"
	CodeLanguageRepeated = "language_repeated"
	CodeUnknownUrgency   = "unknown_urgency"
	CodeReasonTooLong    = "reason_too_long"
	CodePlaceTooLong     = "place_too_long"
	CodeBadOnlineLink    = "bad_online_link"

	CodeBadTime                = "bad_time"
	CodeMeetingEndsBeforeStart = "meeting_ends_before_start"
	CodeUnknownZone            = "unknown_zone"
	CodeExpiryPast             = "expiry_past"
	CodeExpiryTooFar           = "expiry_too_far"
	CodeExpiryBeforeMeeting    = "expiry_before_meeting"

	CodeNoticeCancelled = "notice_cancelled"
	CodeNeedsNewer      = "needs_newer" // a kind of notice that only a newer version knows
	CodeNotAMeeting     = "not_a_meeting"
	CodeNothingChanged  = "nothing_changed"

	CodeNotOrganiser          = "not_organiser"
	CodeMayNotPost            = "may_not_post"
	CodeCannotRemoveOrganiser = "cannot_remove_organiser"
	CodeLastOrganiser         = "last_organiser"
	CodeAlreadySo             = "already_so"
	CodeUnknownRole           = "unknown_role"
	CodeUnknownPosting        = "unknown_posting"

	CodeNotAnOrganiser      = "not_an_organiser"      // the target
	CodeOperatingDevice     = "operating_device"      // it acts for an organiser
	CodeSuspended           = "suspended"             // this person is, as an organiser
	CodeOrganiserLeaves     = "organiser_leaves"      // an organiser cannot just leave
	CodeNotOpen             = "not_open"              // the proposal is decided, or passed over
	CodeImpossibleDecision  = "impossible_decision"   // as things are
	CodeAlreadySuspended    = "already_suspended"     // the target
	CodeNotSuspended        = "not_suspended"         // the target
	CodeNotYourself         = "not_yourself"          // nobody suspends themselves
	CodeNoVoice             = "no_voice"              // this device does not act for an organiser
	CodeDevicesBounds       = "devices_bounds"        // an organiser acts with 1 to 4
	CodeOneSuspension       = "one_suspension"        // this organiser holds another suspended
	CodeGivenBack           = "given_back"            // suspending again takes the agreement of the organisers
	CodeNoRecovery          = "no_recovery"           // there is no paper, or it may not speak for this
	CodeRecoveryWords       = "recovery_words"        // these are not the words
	CodeRecoveryWordsNeeded = "recovery_words_needed" // and nobody sits at a terminal
	CodeRecoveryFile        = "recovery_file"         // cannot be made, or is there already
	CodePolicyBounds        = "policy_bounds"
	CodeDataBounds          = "data_bounds"       // of the cap of a day
	CodeCareful             = "careful"           // a careful phone connects to letter carriers alone
	CodeCarefulListens      = "careful_listens"   // a careful phone cannot be connected to
	CodeCarefulLink         = "careful_link"      // a link that names no letter carrier
	CodeLANWouldTell        = "lan_would_tell"    // looking for neighbours would tell where a phone is that hides it
	CodeInvalidProxy        = "invalid_proxy"     // not the address of a proxy
	CodeInvalidCarrier      = "invalid_carrier"   // not the address of a letter carrier
	CodeTooManyCarriers     = "too_many_carriers" // more than a group can name
	CodeChainCopied         = "chain_copied"      // this device was copied or restored: it signs nothing more
	CodeNoAlarm             = "no_alarm"          // there is nothing to confirm
	CodeAlarm               = "alarm"             // nothing goes out before somebody confirmed

	CodeAlertsWait  = "alerts_wait"  // the policy lets none out while keys are renewed
	CodeNotAnAlert  = "not_an_alert" // and only those may go out
	CodeMoreReaders = "more_readers" // than was said; Text is how many
	CodeNoKeysYet   = "no_keys_yet"  // under which an alert could go out
)

// Codes returns all codes, in the order of the list above.
func Codes() []string {
	return []string{
		CodeUsage, CodeBadRequest, CodeUnknownCommand, CodeTooLarge, CodeBusy, CodeInternal, CodeInterrupted,
		CodeNotRunning, CodeAlreadyRunning, CodeNotAnswering,
		CodeProfileMissing, CodeProfileExists, CodeProfileInUse, CodeWrongPassphrase, CodePassphraseNeeded,
		CodePassphraseUnreadable, CodePassphraseUnusable, CodePassphraseMismatch,
		CodeDamaged, CodeNewerVersion, CodeDiskFull, CodeDiskFailed, CodeFileUnreadable, CodeFileExists, CodeNotABundle,
		CodeCarrierMissing, CodeCarrierInUse, CodeCarrierDamaged, CodeCarrierDisk, CodeCarrierAddress, CodeCarrierCertificate, CodeUnknownTicket,
		CodeNoGroup, CodeWhichGroup, CodeUnknownGroup, CodeNotJoined, CodeRemoved,
		CodeUnknownID, CodeAmbiguousID, CodeBadID,
		CodeLinkAltered, CodeLinkExpired, CodeLinkUsedUp, CodeAlreadyInGroup, CodeInviteBounds,
		CodeNoAddress, CodeGroupFull, CodeTooMany, CodeInvalidAddress, CodeAddressInUse,
		CodeNameEmpty, CodeNameTooLong, CodeNameUnsafe,
		CodeTitleMissing, CodeTitleTooLong, CodeTextTooLong, CodeTextUnsafe, CodeTextsTooMany,
		CodeBadLanguage, CodeLanguageRepeated, CodeUnknownUrgency, CodeReasonTooLong, CodePlaceTooLong, CodeBadOnlineLink,
		CodeBadTime, CodeMeetingEndsBeforeStart, CodeUnknownZone, CodeExpiryPast, CodeExpiryTooFar, CodeExpiryBeforeMeeting,
		CodeNoticeCancelled, CodeNeedsNewer, CodeNotAMeeting, CodeNothingChanged,
		CodeNotOrganiser, CodeMayNotPost, CodeCannotRemoveOrganiser, CodeLastOrganiser, CodeAlreadySo,
		CodeUnknownRole, CodeUnknownPosting,
		CodeNotAnOrganiser, CodeOperatingDevice, CodeSuspended, CodeOrganiserLeaves, CodeNotOpen, CodeImpossibleDecision, CodeAlreadySuspended,
		CodeNotSuspended, CodeNotYourself, CodeNoVoice, CodeDevicesBounds, CodeOneSuspension,
		CodeGivenBack, CodeNoRecovery, CodeRecoveryWords, CodeRecoveryWordsNeeded, CodeRecoveryFile, CodePolicyBounds, CodeDataBounds, CodeCareful, CodeCarefulListens, CodeCarefulLink, CodeLANWouldTell, CodeInvalidProxy, CodeInvalidCarrier, CodeTooManyCarriers,
		CodeChainCopied, CodeNoAlarm, CodeAlarm, CodeAlertsWait, CodeNotAnAlert, CodeMoreReaders, CodeNoKeysYet,
	}
}
