package webhook

// Public is for tests of the guard's table.
var Public = public
