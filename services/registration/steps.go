package registration

import (
	"fmt"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
)

// Judge judges the traits of a submit by the schema, as [Service.Register] would:
// the first of two steps. What a person can mend is a [*flow.Invalid]. It reads no
// store and asks no hook, so nobody learns from it whether an identifier is taken.
func (s *Service) Judge(in Submit) error {
	schema, ok := s.Schemas.Schema(in.Flow.SchemaID)
	if !ok {
		return fmt.Errorf("judge traits: schema %q is not configured any more", in.Flow.SchemaID)
	}
	messages := map[string][]flow.Message{}
	judge(schema, in.Traits, messages)
	if len(messages) > 0 {
		return invalid(in, messages)
	}
	if _, identifiers := schema.Extract(identity.Object(in.Traits)); len(identifiers) == 0 {
		return invalid(in, map[string][]flow.Message{"": {flow.NoIdentifier()}})
	}
	return nil
}
