"""Rows fit the tables that they are written to."""

from app.store.rows import AttemptRow, RequestRow
from app.store.tables import attempts, requests


def test_a_request_row_begins_with_the_columns_of_its_table():
    columns = tuple(column.name for column in requests.columns if column.name != "seq")
    assert RequestRow._fields[: len(columns)] == columns
    rest = ("hour", "day", "month", "first_bucket", "whole_bucket")
    assert RequestRow._fields[len(columns) :] == rest


def test_an_attempt_row_has_the_columns_of_its_table():
    assert AttemptRow._fields == tuple(column.name for column in attempts.columns)
