from faults import TABLE, rows, table


def test_the_table_of_faults_is_current():
    assert TABLE.read_text(encoding="utf-8") == table(), "run python tests/faults.py"


def test_no_fault_is_listed_twice():
    faults = [row[0] for row in rows()]
    assert len(faults) == len(set(faults))
