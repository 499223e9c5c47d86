package storetest

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/store"
)

// Database is a fresh database for one test.
type Database struct {
	// Options open it; the suite adds what a test is about.
	Options store.Options
	// Driver and Source open it without the store.
	Driver, Source string
}

// Run holds a store against all that the use cases rely on. Each test asks
// fresh for a database of its own.
func Run(t *testing.T, fresh func(t *testing.T) Database) {
	tests := map[string]func(*testing.T, *suite){
		"Migrate":                         testMigrate,
		"KeysAreSealed":                   testKeysAreSealed,
		"MigrateMakesMissingKeys":         testMigrateMakesMissingKeys,
		"SecretsRotate":                   testSecretsRotate,
		"SecretsRotateInPlace":            testSecretsRotateInPlace,
		"RegisterAndReadBack":             testRegisterAndReadBack,
		"RegisterOpensAVerification":      testRegisterOpensAVerification,
		"RegisterTaken":                   testRegisterTaken,
		"RegisterOneFlowAtOnce":           testRegisterOneFlowAtOnce,
		"RegisterOneAddressAtOnce":        testRegisterOneAddressAtOnce,
		"RegisterCrosswise":               testRegisterCrosswise,
		"RegisterProven":                  testRegisterProven,
		"RegisterOneSubjectAtOnce":        testRegisterOneSubjectAtOnce,
		"ProvenTaken":                     testProvenTaken,
		"CreateIdentity":                  testCreateIdentity,
		"Import":                          testImport,
		"ImportTaken":                     testImportTaken,
		"ImportRefuses":                   testImportRefuses,
		"ImportID":                        testImportID,
		"Identities":                      testIdentities,
		"UpdateIdentity":                  testUpdateIdentity,
		"UpdateIdentityTaken":             testUpdateIdentityTaken,
		"UpdateIdentityAtOnce":            testUpdateIdentityAtOnce,
		"UpdateIdentityCrosswise":         testUpdateIdentityCrosswise,
		"UpdateIdentityRevokes":           testUpdateIdentityRevokes,
		"UpdateIdentityDuringIssue":       testUpdateIdentityDuringIssue,
		"DeleteIdentity":                  testDeleteIdentity,
		"IdentitiesByID":                  testIdentitiesByID,
		"IdentitiesByIdentifier":          testIdentitiesByIdentifier,
		"IdentitiesLike":                  testIdentitiesLike,
		"IdentityByExternalID":            testIdentityByExternalID,
		"IdentitiesAt":                    testIdentitiesAt,
		"HookInputs":                      testHookInputs,
		"IssueSession":                    testIssueSession,
		"IssueSessionTwice":               testIssueSessionTwice,
		"IssueSessionReplaces":            testIssueSessionReplaces,
		"IssueSessionBypassesOnce":        testIssueSessionBypassesOnce,
		"IssueSessionNotAfterItsEnd":      testIssueSessionNotAfterItsEnd,
		"IssueSessionRefuses":             testIssueSessionRefuses,
		"Login":                           testLogin,
		"LoginOfTheVerified":              testLoginOfTheVerified,
		"LoginOfTheUnverifiable":          testLoginOfTheUnverifiable,
		"LoginAgain":                      testLoginAgain,
		"LoginsAtOnce":                    testLoginsAtOnce,
		"LoginRefuses":                    testLoginRefuses,
		"Refresh":                         testRefresh,
		"RefreshRefuses":                  testRefreshRefuses,
		"IdentityByIdentifier":            testIdentityByIdentifier,
		"ReplaceCredential":               testReplaceCredential,
		"SaveDue":                         testSaveDue,
		"RevokeSessions":                  testRevokeSessions,
		"RevokeWhileIssuing":              testRevokeWhileIssuing,
		"SessionsOf":                      testSessionsOf,
		"SessionsByID":                    testSessionsByID,
		"ExtendSession":                   testExtendSession,
		"DeleteSessions":                  testDeleteSessions,
		"DeleteExpiredSessions":           testDeleteExpiredSessions,
		"IssueSessionWithoutGrant":        testIssueSessionWithoutGrant,
		"SequenceHasNoGaps":               testSequenceHasNoGaps,
		"Append":                          testAppend,
		"Move":                            testMove,
		"MoveAgain":                       testMoveAgain,
		"MoveAfterAPowerCut":              testMoveAfterAPowerCut,
		"OnlyWhatMayDoesNotWaitForDisk":   testDurable,
		"MoveTwoAtOnce":                   testMoveTwoAtOnce,
		"Events":                          testEvents,
		"Indexes":                         testIndexes,
		"EventsByType":                    testEventsByType,
		"EventsSince":                     testEventsSince,
		"EventsNewest":                    testEventsNewest,
		"EventPayload":                    testEventPayload,
		"Checkpoints":                     testCheckpoints,
		"CheckpointsTaken":                testCheckpointsTaken,
		"Tampering":                       testTampering,
		"RotateKey":                       testRotateKey,
		"PruneEvents":                     testPruneEvents,
		"Hooks":                           testHooks,
		"HooksWithTheirEvents":            testHooksWithTheirEvents,
		"HooksThatOnlyMark":               testHooksThatOnlyMark,
		"HookNames":                       testHookNames,
		"SaveFailure":                     testSaveFailure,
		"SaveFailureAtOnce":               testSaveFailureAtOnce,
		"DueFailures":                     testDueFailures,
		"DueFailuresAtOnce":               testDueFailuresAtOnce,
		"RetryPublished":                  testRetryPublished,
		"RetriesDone":                     testRetriesDone,
		"RetriesLost":                     testRetriesLost,
		"FailedAtUnknown":                 testFailedAtUnknown,
		"Failures":                        testFailures,
		"FailuresByType":                  testFailuresByType,
		"DeleteFailures":                  testDeleteFailures,
		"Deliveries":                      testDeliveries,
		"DeliveriesAreBounded":            testDeliveriesAreBounded,
		"FailuresAt":                      testFailuresAt,
		"Flows":                           testFlows,
		"FlowsThatTwoSave":                testFlowsThatTwoSave,
		"FlowsThatManyChange":             testFlowsThatManyChange,
		"FlowsOfSettings":                 testFlowsOfSettings,
		"FlowAndGrant":                    testFlowAndGrant,
		"LinkAndUnlink":                   testLinkAndUnlink,
		"UnlinkAtOnce":                    testUnlinkAtOnce,
		"LinkAtOnce":                      testLinkAtOnce,
		"ChangeProfile":                   testChangeProfile,
		"ChangeIsOneCommit":               testChangeIsOneCommit,
		"ChangePassword":                  testChangePassword,
		"ChangesAtOnce":                   testChangesAtOnce,
		"ChangesByWhoHasEnded":            testChangesByWhoHasEnded,
		"AddressIsChangedBeforeItsCode":   testAddressIsChangedBeforeItsCode,
		"FlowsExpire":                     testFlowsExpire,
		"FlowsAreCapped":                  testFlowsAreCapped,
		"FlowsThatWaitOutliveOthers":      testFlowsThatWaitOutliveOthers,
		"LinkAndExchangeOfAFlow":          testLinkAndExchangeOfAFlow,
		"Attempt":                         testAttempt,
		"AttemptOfAFreshFlow":             testAttemptOfAFreshFlow,
		"AttemptOfACompletedFlow":         testAttemptOfACompletedFlow,
		"TakeAttemptAtOnce":               testTakeAttemptAtOnce,
		"Exchange":                        testExchange,
		"TakeExchangeAtOnce":              testTakeExchangeAtOnce,
		"LinkAccount":                     testLinkAccount,
		"LinkAccountRefuses":              testLinkAccountRefuses,
		"LinkAccountAtOnce":               testLinkAccountAtOnce,
		"AccountOfAnotherIssuer":          testAccountOfAnotherIssuer,
		"SessionOfTheLinked":              testSessionOfTheLinked,
		"CountTry":                        testCountTry,
		"Verify":                          testVerify,
		"VerifyRefuses":                   testVerifyRefuses,
		"VerifyAtOnce":                    testVerifyAtOnce,
		"VerifyInAnotherFlow":             testVerifyInAnotherFlow,
		"HandOut":                         testHandOut,
		"HandOutRefuses":                  testHandOutRefuses,
		"VerifyForAPurpose":               testVerifyForAPurpose,
		"Recover":                         testRecover,
		"RecoverRefuses":                  testRecoverRefuses,
		"RecoverEndsWhatWasUsed":          testRecoverEndsWhatWasUsed,
		"RecoverEndsWhatIsNotWritten":     testRecoverEndsWhatIsNotWritten,
		"RecoverEndsWhatIsWrittenAtOnce":  testRecoverEndsWhatIsWrittenAtOnce,
		"RecoverAtOnce":                   testRecoverAtOnce,
		"VerifyOfTheDeactivated":          testVerifyOfTheDeactivated,
		"VerifyOfWhoChangesMeanwhile":     testVerifyOfWhoChangesMeanwhile,
		"DeleteExpiredCodes":              testDeleteExpiredCodes,
		"Queue":                           testQueue,
		"Claim":                           testClaim,
		"Useful":                          testUseful,
		"Recipient":                       testRecipient,
		"Messages":                        testMessages,
		"DeleteMessages":                  testDeleteMessages,
		"Errors":                          testErrors,
		"AdminTokens":                     testAdminTokens,
		"AppendedIsCalled":                testAppendedIsCalled,
		"ActorNames":                      testActorNames,
		"ActorNamesAtOnce":                testActorNamesAtOnce,
		"Operators":                       testOperators,
		"OperatorSetUp":                   testOperatorSetUp,
		"FirstOperator":                   testFirstOperator,
		"FirstOperatorBesideAnother":      testFirstOperatorBesideAnother,
		"OperatorSessions":                testOperatorSessions,
		"LastOwner":                       testLastOwner,
		"SavedSettings":                   testSavedSettings,
		"SaveSettingsAtOnce":              testSaveSettingsAtOnce,
		"SavedSettingsDamaged":            testSavedSettingsDamaged,
		"LeadIsReleased":                  testLeadIsReleased,
		"AContextThatIsOverBeginsNothing": testContextOver,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &suite{t: t, Database: fresh(t), now: start}
			test(t, s)
			s.allTold()
		})
	}
}

// allTold tells of commits with an event that nobody was told of: the relay would
// not look before its next poll. What was moved meanwhile does not count.
func (s *suite) allTold() {
	s.t.Helper()
	commits := `SELECT count(*) > 0 FROM outbox`
	if s.Driver == "postgres" {
		commits = `SELECT count(DISTINCT xmin::text) FROM outbox`
	}
	var least int64
	if err := s.raw().QueryRowContext(s.ctx(), commits).Scan(&least); err != nil {
		return // a database without tables
	}
	if told := s.appended.Load(); told < least {
		s.t.Errorf("Appended was called %d times for at least %d commits with an event", told, least)
	}
}

// start is when the clock of every test begins.
var start = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// suite is one test with its database.
type suite struct {
	Database
	t *testing.T

	mu  sync.Mutex
	now time.Time

	appended atomic.Int64 // calls of the stores' Appended
}

func (s *suite) ctx() context.Context { return s.t.Context() }

// clock is what the stores of the test take for the time.
func (s *suite) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *suite) advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// open opens the database as it is.
func (s *suite) open(change func(*store.Options)) (*store.Store, error) {
	o := s.Options
	o.CipherSecrets = []string{Secret}
	o.Now = s.clock
	o.Appended = func() { s.appended.Add(1) }
	if change != nil {
		change(&o)
	}
	return store.Open(s.ctx(), o)
}

// store gives a migrated store, which is closed at the end.
func (s *suite) store(change func(*store.Options)) *store.Store {
	s.t.Helper()
	st, err := s.open(change)
	if err != nil {
		s.t.Fatalf("Open: %v", err)
	}
	s.t.Cleanup(func() {
		if err := st.Close(); err != nil {
			s.t.Errorf("Close: %v", err)
		}
	})
	s.must(st.Migrate(s.ctx()))
	return st
}

// raw gives the database without the store.
func (s *suite) raw() *sql.DB {
	s.t.Helper()
	db, err := sql.Open(s.Driver, s.Source)
	s.must(err)
	s.t.Cleanup(func() { db.Close() })
	return db
}

func (s *suite) exec(query string, args ...any) {
	s.t.Helper()
	_, err := s.raw().ExecContext(s.ctx(), query, args...)
	s.must(err)
}

func (s *suite) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// record gives a registration with the given addresses, made now.
func (s *suite) record(addresses ...string) registration.Record {
	return newRecord(s.clock(), addresses...)
}

// registered stores a registration and gives it.
func (s *suite) registered(st *store.Store, address string) registration.Record {
	s.t.Helper()
	r := s.record(address)
	s.must(st.Register(s.ctx(), r))
	return r
}

// issueFor asks for the session of a registration, with a fresh token.
func (s *suite) issueFor(r registration.Record) session.Issue { return newIssue(s.clock(), r) }

// loginFor asks for the session of a person who comes back, with a fresh token.
func (s *suite) loginFor(r registration.Record) session.Issue { return newLogin(s.clock(), r) }

func (s *suite) issue(q session.Request) session.Issue { return issueOf(s.clock(), q) }

// pending gives the events in the outbox, and holds each against its schema.
func (s *suite) pending(st *store.Store) []events.Event {
	s.t.Helper()
	rows, err := st.Pending(s.ctx(), 10_000)
	s.must(err)
	all := make([]events.Event, len(rows))
	for n, r := range rows {
		eventstest.Validate(s.t, r.Payload)
		all[n], err = events.Decode(r.Payload)
		s.must(err)
	}
	return all
}

// types gives what the outbox holds, as "type sequence".
func (s *suite) types(st *store.Store) []string {
	s.t.Helper()
	var all []string
	for _, e := range s.pending(st) {
		all = append(all, e.Type+" "+e.Sequence)
	}
	return all
}

// atOnce runs n calls at the same time and gives their errors.
func atOnce(n int, call func(n int) error) []error {
	errs := make([]error, n)
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-begin
			errs[i] = call(i)
		})
	}
	close(begin)
	wg.Wait()
	return errs
}
