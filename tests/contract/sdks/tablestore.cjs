'use strict';
const { assert, fails, run, settings } = require('./checks.cjs');
const T = require('tablestore');

const client = new T.Client({
  accessKeyId: settings.id,
  secretAccessKey: settings.secret,
  endpoint: settings.url,
  instancename: 'local',
  maxRetries: 0,
});
const call = (name, parameters) => new Promise((done, failed) => {
  client[name](parameters, (error, data) => (error ? failed(error) : done(data)));
});
const any = new T.Condition(T.RowExistenceExpectation.IGNORE, null);
const one = T.Long.fromNumber(1);
const capacity = { capacityUnit: { read: 0, write: 0 } };
const create = (tableName, primaryKey, others = {}) => call('createTable', {
  tableMeta: { tableName, primaryKey },
  reservedThroughput: capacity,
  tableOptions: { timeToLive: -1, maxVersions: 5 },
  ...others,
});
const put = (k, condition = any) => call('putRow', {
  tableName: 't', condition, primaryKey: [{ k }], attributeColumns: [{ v: one }, { b: Buffer.from([1, 0]) }, { d: 1.5 }, { t: true }],
});
const get = (k, others = {}) => call('getRow', { tableName: 't', primaryKey: [{ k }], maxVersions: 1, ...others });
const range = (others = {}) => call('getRange', {
  tableName: 't',
  direction: T.Direction.FORWARD,
  inclusiveStartPrimaryKey: [{ k: T.INF_MIN }],
  exclusiveEndPrimaryKey: [{ k: T.INF_MAX }],
  maxVersions: 1,
  ...others,
});

run('tablestore', {
  'createTable': () => create('t', [{ name: 'k', type: 'STRING' }], { streamSpecification: { enableStream: false } }),
  'createTable with a numbered key': () => create('n', [
    { name: 'p', type: 'STRING' }, { name: 'k', type: 'INTEGER', option: 'AUTO_INCREMENT' },
  ]),
  'createTable with a stream': async () => {
    await create('s', [{ name: 'k', type: 'STRING' }], { streamSpecification: { enableStream: true, expirationTime: 24 } });
    const found = await call('describeTable', { tableName: 's' });
    assert.equal(found.streamDetails.enableStream, true);
    assert.equal(found.streamDetails.expirationTime, 24);
  },
  'listTable': async () => assert.deepEqual((await call('listTable', {})).tableNames, ['n', 's', 't']),
  'describeTable': async () => {
    const found = await call('describeTable', { tableName: 't' });
    assert.equal(found.tableMeta.tableName, 't');
    assert.ok(String(found.tableStatus).match(/1|ACTIVE/));
  },
  'updateTable': async () => {
    const found = await call('updateTable', { tableName: 't', tableOptions: { maxVersions: 3 } });
    assert.equal(found.tableOptions.maxVersions, 3);
  },
  'putRow': () => Promise.all(['a', 'b', 'é'].map((k) => put(k))),
  'putRow with PK_AUTO_INCR': async () => {
    const found = await call('putRow', {
      tableName: 'n',
      condition: any,
      primaryKey: [{ p: 'a' }, { k: T.PK_AUTO_INCR }],
      attributeColumns: [{ v: 'x' }],
      returnContent: { returnType: T.ReturnType.Primarykey },
    });
    assert.equal(found.row.primaryKey[1].name, 'k');
  },
  'putRow with a condition that fails': () => fails(
    put('a', new T.Condition(T.RowExistenceExpectation.EXPECT_NOT_EXIST, null)), 'OTSConditionCheckFail',
  ),
  'getRow': async () => assert.equal((await get('é')).row.attributes.length, 4),
  'getRow of a missing row': async () => assert.deepEqual((await get('nothing')).row, {}),
  'getRow with a time range': async () => {
    const found = await get('a', { maxVersions: undefined, timeRange: { startTime: 1, endTime: 2 } });
    assert.deepEqual([found.row.primaryKey[0].value, found.row.attributes], ['a', []]);
  },
  'getRange with INF_MIN and INF_MAX': async () => assert.equal((await range()).rows.length, 3),
  'getRange backward, in pages': async () => {
    const page = await range({
      direction: T.Direction.BACKWARD,
      inclusiveStartPrimaryKey: [{ k: T.INF_MAX }],
      exclusiveEndPrimaryKey: [{ k: T.INF_MIN }],
      limit: 2,
    });
    assert.equal(page.rows.length, 2);
    assert.ok(page.nextStartPrimaryKey);
  },
  'updateRow': async () => {
    const condition = new T.Condition(
      T.RowExistenceExpectation.EXPECT_EXIST, new T.SingleColumnCondition('v', one, T.ComparatorType.EQUAL),
    );
    const updateOfAttributeColumns = [{ PUT: [{ w: 'x' }] }, { DELETE_ALL: ['v'] }];
    await call('updateRow', { tableName: 't', condition, primaryKey: [{ k: 'a' }], updateOfAttributeColumns });
    assert.deepEqual((await get('a')).row.attributes.map((cell) => cell.columnName), ['b', 'd', 't', 'w']);
  },
  'updateRow with an increment': async () => {
    const found = await call('updateRow', {
      tableName: 't',
      condition: any,
      primaryKey: [{ k: 'b' }],
      updateOfAttributeColumns: [{ INCREMENT: [{ v: T.Long.fromNumber(5) }] }],
      returnContent: { returnColumns: ['v'], returnType: T.ReturnType.AfterModify },
    });
    assert.equal(Number(found.row.attributes[0].columnValue), 6);
  },
  'batchWriteRow': () => call('batchWriteRow', {
    tables: [{
      tableName: 't',
      rows: [
        { type: 'PUT', condition: any, primaryKey: [{ k: 'x' }], attributeColumns: [{ v: 'q' }] },
        { type: 'UPDATE', condition: any, primaryKey: [{ k: 'y' }], attributeColumns: [{ PUT: [{ v: 'q' }] }] },
        { type: 'DELETE', condition: any, primaryKey: [{ k: 'a' }] },
      ],
    }],
  }),
  'batchGetRow': async () => {
    const found = await call('batchGetRow', {
      tables: [{ tableName: 't', primaryKey: [[{ k: 'x' }], [{ k: 'y' }], [{ k: 'nothing' }]], maxVersions: 1 }],
    });
    assert.deepEqual(found.tables[0].map((row) => row.isOk), [true, true, true]);
  },
  'deleteRow': () => call('deleteRow', { tableName: 't', condition: any, primaryKey: [{ k: 'x' }] }),
  'startLocalTransaction': () => fails(
    call('startLocalTransaction', { tableName: 't', primaryKey: [{ k: 'a' }] }), 'no transactions',
  ),
  'createIndex': () => fails(
    call('createIndex', { mainTableName: 't', indexMeta: { name: 'i', primaryKey: ['v'], definedColumn: [] } }),
    'no secondary indexes',
  ),
  'deleteTable': () => call('deleteTable', { tableName: 't' }),
});
