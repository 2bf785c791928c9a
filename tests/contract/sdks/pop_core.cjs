'use strict';
const { assert, fails, run, settings } = require('./checks.cjs');
const { RPCClient, ROAClient } = require('@alicloud/pop-core');

const { url, id, secret, token } = settings;
const key = { endpoint: url, accessKeyId: id, accessKeySecret: secret };
const sts = new RPCClient({ ...key, apiVersion: '2015-04-01' });
const bridge = new RPCClient({ ...key, apiVersion: '2020-04-01', securityToken: token });
const pai = new ROAClient({ ...key, apiVersion: '2022-08-28' });
const LISTING = '/api/automl/v1/hpo/experiments';
const EVENTS = JSON.stringify([{ id: '1', source: "a!'()* é", type: 't', data: { n: 1 } }]);
const JSON_TYPE = { 'content-type': 'application/json' };

run('@alicloud/pop-core', {
  'GetCallerIdentity, GET': async () => {
    const found = await sts.request('getCallerIdentity', {});
    assert.equal(found.IdentityType, 'Account');
  },
  'GetCallerIdentity, POST': async () => {
    const found = await sts.request('getCallerIdentity', {}, { method: 'POST' });
    assert.equal(found.IdentityType, 'Account');
  },
  'AssumeRole': async () => {
    const parameters = { RoleArn: 'acs:ram::1000000000000001:role/worker', RoleSessionName: 'me' };
    const found = await sts.request('AssumeRole', parameters, { method: 'POST' });
    const { AccessKeyId: accessKeyId, AccessKeySecret: accessKeySecret, SecurityToken: securityToken } = found.Credentials;
    const role = new RPCClient({ endpoint: url, apiVersion: '2015-04-01', accessKeyId, accessKeySecret, securityToken });
    assert.equal((await role.request('GetCallerIdentity')).IdentityType, 'AssumedRoleUser');
  },
  'a wrong secret': () => fails(
    new RPCClient({ ...key, apiVersion: '2015-04-01', accessKeySecret: 'x' }).request('GetCallerIdentity'),
    'SignatureDoesNotMatch',
  ),
  'ListEventBuses': async () => {
    assert.equal((await bridge.request('ListEventBuses', { Limit: 10 })).Data.EventBuses[0].EventBusName, 'default');
  },
  'PutEvents': async () => {
    const found = await bridge.request('PutEvents', { EventBusName: 'default', EventList: EVENTS }, { method: 'POST' });
    assert.equal(found.Data.FailedEntryCount, 0);
  },
  'GET with a query': async () => {
    assert.equal((await pai.get(LISTING, { Name: 'ä b&c', Status: '' })).TotalCount, 0);
  },
  'POST with a body': async () => {
    const body = JSON.stringify({ Name: 'é' });
    assert.ok((await pai.post('/api/automl/v1/hpo/experiment', {}, body, JSON_TYPE)).ExperimentId);
  },
  'a wrong secret of the ROA style': () => fails(
    new ROAClient({ ...key, apiVersion: '2022-08-28', accessKeySecret: 'x' }).get(LISTING), 'SignatureDoesNotMatch',
  ),
});
