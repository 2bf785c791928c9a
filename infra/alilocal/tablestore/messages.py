"""The members of Tablestore's messages: one class per message, with the names and numbers of the `.proto` files.

Sources: `table_store.proto` and `table_store_filter.proto` of the official SDK for Python. Members that only newer
SDKs know are marked.
"""

from __future__ import annotations


class Error:
    CODE, MESSAGE = 1, 2
    ACCESS_DENIED_DETAIL = 3  # newer


class CapacityUnit:
    READ, WRITE = 1, 2


class Throughput:
    """ReservedThroughput, ReservedThroughputDetails and ConsumedCapacity, of which only the second has a time."""

    CAPACITY_UNIT, LAST_INCREASE_TIME = 1, 2


class ColumnSchema:
    """PrimaryKeySchema and DefinedColumnSchema, of which only the first has an option."""

    NAME, TYPE, OPTION = 1, 2, 3


class TableMeta:
    TABLE_NAME, PRIMARY_KEY, DEFINED_COLUMN = 1, 2, 3
    INDEX_META = 4  # newer


class TableOptions:
    TIME_TO_LIVE, MAX_VERSIONS, DEVIATION_CELL_VERSION_IN_SEC, ALLOW_UPDATE = 1, 2, 5, 6
    UPDATE_FULL_ROW = 7  # newer


class StreamSpecification:
    ENABLE_STREAM, EXPIRATION_TIME = 1, 2


class StreamDetails:
    ENABLE_STREAM, STREAM_ID, EXPIRATION_TIME, LAST_ENABLE_TIME = 1, 2, 3, 4


class CreateTableRequest:
    TABLE_META, RESERVED_THROUGHPUT, TABLE_OPTIONS, STREAM_SPEC, INDEX_METAS = 1, 2, 3, 5, 7


class UpdateTableRequest:
    TABLE_NAME, RESERVED_THROUGHPUT, TABLE_OPTIONS, STREAM_SPEC = 1, 2, 3, 4


class UpdateTableResponse:
    RESERVED_THROUGHPUT_DETAILS, TABLE_OPTIONS, STREAM_DETAILS = 1, 2, 3


class TableRequest:
    """DescribeTableRequest and DeleteTableRequest. Every request for one table begins with its name."""

    TABLE_NAME = 1


class DescribeTableResponse:
    TABLE_META, RESERVED_THROUGHPUT_DETAILS, TABLE_OPTIONS, STREAM_DETAILS = 1, 2, 3, 5
    TABLE_STATUS, CREATION_TIME = 4, 9  # newer


class ListTableResponse:
    TABLE_NAMES = 1


class Condition:
    ROW_EXISTENCE, COLUMN_CONDITION = 1, 2


class ReturnContent:
    RETURN_TYPE, RETURN_COLUMN_NAMES = 1, 2


class WriteRowRequest:
    """PutRowRequest, UpdateRowRequest and DeleteRowRequest, which name the row differently."""

    TABLE_NAME, ROW, CONDITION, RETURN_CONTENT, TRANSACTION_ID = 1, 2, 3, 4, 5


class TimeRange:
    START_TIME, END_TIME, SPECIFIC_TIME = 1, 2, 3


class GetRowRequest:
    TABLE_NAME, PRIMARY_KEY, TRANSACTION_ID = 1, 2, 11
    COLUMNS_TO_GET, TIME_RANGE, MAX_VERSIONS, FILTER, START_COLUMN, END_COLUMN = 3, 4, 5, 7, 8, 9


class GetRangeRequest:
    TABLE_NAME, DIRECTION, LIMIT, INCLUSIVE_START_PRIMARY_KEY, EXCLUSIVE_END_PRIMARY_KEY = 1, 2, 6, 7, 8
    COLUMNS_TO_GET, TIME_RANGE, MAX_VERSIONS, FILTER, START_COLUMN, END_COLUMN = 3, 4, 5, 10, 11, 12
    TRANSACTION_ID = 14


class TableInBatchGetRowRequest:
    TABLE_NAME, PRIMARY_KEY = 1, 2
    COLUMNS_TO_GET, TIME_RANGE, MAX_VERSIONS, FILTER, START_COLUMN, END_COLUMN = 4, 5, 6, 8, 9, 10


class RowResponse:
    """GetRowResponse, PutRowResponse, UpdateRowResponse and DeleteRowResponse."""

    CONSUMED, ROW = 1, 2


class GetRangeResponse:
    CONSUMED, ROWS, NEXT_START_PRIMARY_KEY = 1, 2, 3


class BatchRequest:
    """BatchGetRowRequest and BatchWriteRowRequest, of which only the second has more than tables."""

    TABLES, TRANSACTION_ID = 1, 2
    IS_ATOMIC = 3  # newer


class TableInBatchWriteRowRequest:
    TABLE_NAME, ROWS = 1, 2


class RowInBatchWriteRowRequest:
    TYPE, ROW_CHANGE, CONDITION, RETURN_CONTENT = 1, 2, 3, 4


class BatchResponse:
    """BatchGetRowResponse and BatchWriteRowResponse."""

    TABLES = 1


class TableInBatchResponse:
    """TableInBatchGetRowResponse and TableInBatchWriteRowResponse."""

    TABLE_NAME, ROWS = 1, 2


class RowInBatchResponse:
    """RowInBatchGetRowResponse and RowInBatchWriteRowResponse."""

    IS_OK, ERROR, CONSUMED, ROW = 1, 2, 3, 4


class Filter:
    """A filter of a read, or a condition on columns: its type, and the message of that type."""

    TYPE, FILTER = 1, 2


class SingleColumnValueFilter:
    COMPARATOR, COLUMN_NAME, COLUMN_VALUE, FILTER_IF_MISSING, LATEST_VERSION_ONLY, VALUE_TRANS_RULE = range(
        1, 7
    )


class ValueTransferRule:
    REGEX, CAST_TYPE = 1, 2


class CompositeColumnValueFilter:
    COMBINATOR, SUB_FILTERS = 1, 2


class ColumnPaginationFilter:
    OFFSET, LIMIT = 1, 2
