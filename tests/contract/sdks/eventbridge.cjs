'use strict';
const { assert, fails, run, settings } = require('./checks.cjs');
const EB = require('@alicloud/eventbridge');

const endpoint = settings.url.replace('http://', '');
const made = (accessKeySecret) => new EB.default(new EB.Config({
  accessKeyId: settings.id, accessKeySecret, endpoint, regionId: 'cn-local',
}));
const client = made(settings.secret);
const event = (bus) => new EB.CloudEvent({
  id: '1',
  source: 'here',
  type: 'made',
  specversion: '1.0',
  datacontenttype: 'application/json',
  time: '2026-01-02T03:04:05.678Z',
  subject: 'about',
  data: Buffer.from('{"n": 1}'),
  extensions: { aliyuneventbusname: bus },
});
const rule = { eventBusName: 'orders', ruleName: 'copy' };
const target = (id) => new EB.TargetEntry({
  id,
  type: 'acs.mns.queue',
  endpoint: 'acs:mns:cn-local:1000000000000001:queues/copies',
  paramList: [
    new EB.EBTargetParam({ resourceKey: 'queue', form: 'CONSTANT', value: 'copies' }),
    new EB.EBTargetParam({ resourceKey: 'Body', form: 'ORIGINAL' }),
  ],
});
const request = (kind, members) => new EB[`${kind}Request`](members);

run('@alicloud/eventbridge', {
  'createEventBus': async () => {
    assert.ok((await client.createEventBus(request('CreateEventBus', { eventBusName: 'orders' }))).eventBusARN);
  },
  'getEventBus': async () => {
    assert.equal((await client.getEventBus(request('GetEventBus', { eventBusName: 'orders' }))).eventBusName, 'orders');
  },
  'listEventBuses': async () => {
    assert.equal((await client.listEventBuses(request('ListEventBuses', { limit: 10 }))).total, 2);
  },
  'createRule': () => client.createRule(request('CreateRule', {
    ...rule, filterPattern: '{"source": ["here"]}', status: 'ENABLE', targets: [target('1')],
  })),
  'putEvents': async () => assert.equal((await client.putEvents([event('orders')])).failedEntryCount, 0),
  'putEvents to no bus': () => fails(client.putEvents([event('nowhere')]), 'EventBusNotExist'),
  'getRule': async () => assert.equal((await client.getRule(request('GetRule', rule))).targets.length, 1),
  'listRules': async () => {
    assert.equal((await client.listRules(request('ListRules', { eventBusName: 'orders' }))).rules.length, 1);
  },
  'createTargets': () => client.createTargets(request('CreateTargets', { ...rule, targets: [target('2')] })),
  'listTargets': async () => assert.equal((await client.listTargets(request('ListTargets', rule))).targets.length, 2),
  'deleteTargets': () => client.deleteTargets(request('DeleteTargets', { ...rule, targetIds: ['2'] })),
  'disableRule': () => client.disableRule(request('DisableRule', rule)),
  'enableRule': () => client.enableRule(request('EnableRule', rule)),
  'updateRule': () => client.updateRule(request('UpdateRule', { ...rule, description: 'new' })),
  'testEventPattern': async () => {
    const members = { event: '{"source": "here"}', eventPattern: '{"source": ["here"]}' };
    assert.equal((await client.testEventPattern(request('TestEventPattern', members))).result, true);
  },
  'deleteRule': () => client.deleteRule(request('DeleteRule', rule)),
  'deleteEventBus': () => client.deleteEventBus(request('DeleteEventBus', { eventBusName: 'orders' })),
  'a wrong secret': () => fails(made('wrong').putEvents([event('default')]), 'SignatureDoesNotMatch'),
});
