// Fills a new store: node load.js FOLDER
//
// Standard input is the definition of its table, as `CreateTable` takes it, and then an item per line. The keys and the rows of the
// indexes are dynalite's own; it leaves out HTTP, requests of 25 items each and the look for an older item.

'use strict'

const readline = require('node:readline')
const { promisify } = require('node:util')
const db = require('dynalite/db')
const createTable = promisify(require('dynalite/actions/createTable'))

const ITEMS_AT_ONCE = 1000

async function main () {
  const store = db.create({ path: process.argv[2], createTableMs: 0 })
  let table = null
  let puts = new Map()
  let items = 0

  function put (subDb, key, value) {
    if (!puts.has(subDb)) puts.set(subDb, [])
    puts.get(subDb).push({ type: 'put', key, value })
  }

  async function write () {
    for (const [ subDb, operations ] of puts) await promisify(subDb.batch)(operations)
    puts = new Map()
  }

  for await (const line of readline.createInterface({ input: process.stdin })) {
    const value = JSON.parse(line)
    if (table == null) {
      await createTable(store, value)
      table = value
      continue
    }
    const invalid = db.validateItem(value, table)
    if (invalid != null) throw invalid
    put(store.getItemDb(table.TableName), db.createKey(value, table), value)
    for (const row of db.getIndexActions(table.GlobalSecondaryIndexes || [], null, value, table).puts) {
      put(store.getIndexDb('Global', table.TableName, row.index), row.key, row.item)
    }
    items += 1
    if (items % ITEMS_AT_ONCE === 0) await write()
  }
  await write()
  await promisify(store.db.close)()
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
