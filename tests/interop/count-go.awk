# The lines of `go test -v` as one line a test. A test that `exempt` names (NAME REASON) may fail.
BEGIN { while ((getline line < exempt) > 0) { at = index(line, " "); reason[substr(line, 1, at - 1)] = substr(line, at + 1) } }
/^--- PASS: / { print "ok " $3 }
/^--- SKIP: / { print "skip " $3 ": it skips itself" }
/^--- FAIL: / { if ($3 in reason) print "skip " $3 ": " reason[$3]; else { print "fail " $3; failed++ } }
/^panic: / { print "fail " $0; failed++ }
/^(PASS|FAIL)$/ { ended = 1 }
END {
  if (!ended) { print "fail: the tests did not end"; exit 1 }
  exit failed > 0
}
