package pages

import "github.com/a-h/templ"

// entry gives the attributes that all elements have in which something is
// entered. That a value is fine is said too: some screen readers call an empty
// required field wrong before anything was entered.
func entry(i *item) templ.Attributes {
	a := templ.Attributes{"aria-invalid": "false"}
	if i.faulty() {
		a["aria-invalid"] = "true"
	}
	if described := i.described(); described != "" {
		a["aria-describedby"] = described
	}
	if i.Attributes.Disabled {
		a["disabled"] = true
	}
	if i.focus {
		a["autofocus"] = true
	}
	// To a browser a box that is required must be ticked; to a schema it must
	// only be answered, and no is an answer.
	if i.Attributes.Required && i.kind() != checkbox {
		a["required"] = true
	}
	if purpose := i.purpose(); purpose != "" {
		a["autocomplete"] = purpose
	}
	if i.kind() == field {
		byType(a, i.Attributes.Type)
		byPurpose(a, i.purpose())
	}
	return a
}

// byType adds what helps to type a value of a kind.
func byType(a templ.Attributes, inputType string) {
	a["dir"] = "auto"
	switch inputType {
	case "number":
		a["step"] = "any" // what a number must be is the schema's business
	case "email", "password", "url", "text":
		a["spellcheck"] = "false"
	}
	switch inputType {
	case "email", "password", "url":
		a["autocapitalize"] = "none"
	}
}

// byPurpose adds what helps to type a value whose type says too little: codes
// and identifiers are text.
func byPurpose(a templ.Attributes, purpose string) {
	switch purpose {
	case "one-time-code":
		a["inputmode"] = "numeric"
	case "username":
		a["autocapitalize"] = "none"
	}
}
